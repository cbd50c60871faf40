use super::*;

use std::io::Write;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use futures::stream;
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};

fn bodies(change: impl FnOnce(&mut IntakeConfig)) -> Bodies {
    let mut config = IntakeConfig::default();
    change(&mut config);
    Bodies::new(&config, &NoopMeterProvider::new().meter("test"))
}

fn packed_as(encoding: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    headers
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(text).expect("written");
    packer.finish().expect("finished")
}

/// A body in parts, as a network delivers it.
fn in_parts(body: Vec<u8>) -> Content {
    let parts: Vec<_> = body.chunks(1_000).map(Bytes::copy_from_slice).collect();
    Content::from_stream(stream::iter(parts.into_iter().map(Ok::<_, std::io::Error>)))
}

async fn reading(bodies: &Bodies, headers: HeaderMap, body: Content) -> Result<Held, Problem> {
    let limits = (bodies.limits.sent, bodies.limits.unpacked);
    bodies.read(&headers, body, limits).await
}

fn status_of(read: Result<Held, Problem>) -> u16 {
    read.expect_err("refused").status
}

#[tokio::test]
async fn a_body_is_read_however_it_was_packed_and_cut() {
    let bodies = bodies(|_| {});
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for (headers, sent) in [
        (HeaderMap::new(), text.clone()),
        (packed_as("gzip"), gzip(&text)),
        (
            packed_as("zstd"),
            zstd::encode_all(&text[..], 3).expect("packed"),
        ),
    ] {
        let held = reading(&bodies, headers.clone(), in_parts(sent)).await;
        assert!(held.expect("read").bytes == text, "{headers:?}");
    }
}

#[tokio::test]
async fn a_bomb_is_given_up_when_it_crosses_the_ratio() {
    let bodies = bodies(|_| {});
    // 256 MiB of blanks in a body of a quarter of a MiB, or with zstd in a few KiB.
    let blanks = vec![b' '; 256 << 20];
    for (encoding, bomb) in [
        ("gzip", gzip(&blanks)),
        ("zstd", zstd::encode_all(&blanks[..], 19).expect("packed")),
    ] {
        let before = bodies.budget.clone();
        let read = reading(&bodies, packed_as(encoding), in_parts(bomb));
        let problem = read.await.expect_err("refused");
        assert_eq!(problem.status, 413);
        assert!(problem.detail.contains("200 times"), "{}", problem.detail);
        // Nothing stays reserved.
        before.reserve(96 << 20).await.expect("all of the budget");
    }
}

#[tokio::test]
async fn a_body_is_given_up_when_it_crosses_the_size() {
    let bodies = bodies(|config| {
        config.max_inflated_bytes = 1 << 20;
        config.max_inflation_ratio = 100_000;
    });
    let blanks = vec![b' '; (1 << 20) + 1];
    let whole = reading(&bodies, packed_as("gzip"), in_parts(gzip(&blanks[1..])));
    assert_eq!(whole.await.expect("just within").bytes.len(), 1 << 20);
    let read = reading(&bodies, packed_as("gzip"), in_parts(gzip(&blanks)));
    assert_eq!(status_of(read.await), 413);
    let read = reading(&bodies, HeaderMap::new(), in_parts(blanks));
    assert_eq!(status_of(read.await), 413);
}

#[tokio::test]
async fn who_finds_no_room_is_told_to_come_back() {
    let bodies = bodies(|_| {});
    let all = bodies.budget.reserve(96 << 20).await.expect("room");
    let read = reading(&bodies, HeaderMap::new(), Content::from("rows"));
    assert_eq!(status_of(read.await), 429);
    drop(all);
    let read = reading(&bodies, HeaderMap::new(), Content::from("rows"));
    read.await.expect("read");
}

#[tokio::test]
async fn room_is_held_until_bytes_and_request_are_gone() {
    let bodies = bodies(|_| {});
    let read = reading(&bodies, HeaderMap::new(), Content::from("rows"));
    let Held { bytes, reservation } = read.await.expect("read");
    drop(reservation);
    bodies
        .budget
        .reserve(96 << 20)
        .await
        .expect_err("the bytes are still there");
    drop(bytes);
    bodies.budget.reserve(96 << 20).await.expect("all of it");
}

#[tokio::test]
async fn who_says_a_lot_and_sends_little_holds_little() {
    let bodies = bodies(|_| {});
    let said = 16 << 20;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(said));
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"[{"))]);
    let stuck = Content::from_stream(futures::StreamExt::chain(begun, stream::pending()));
    let slow = reading(&bodies, headers.clone(), stuck);
    let others = async {
        tokio::task::yield_now().await;
        bodies.budget.reserve((96 << 20) - BELIEVED).await
    };
    tokio::select! {
        biased;
        _ = slow => panic!("its body does not come"),
        room = others => drop(room.expect("room for all the others")),
    }
    // What comes whole is read whole, and holds no more than it is.
    let body = vec![b' '; said];
    let held = reading(&bodies, headers, in_parts(body))
        .await
        .expect("read");
    assert_eq!(held.reservation.bytes(), said);
}

#[tokio::test]
async fn small_bodies_do_not_wait_behind_large_ones() {
    let bodies = bodies(|_| {});
    let everything = bodies
        .turns
        .reserve_at_most_all(usize::MAX)
        .await
        .expect("all turns");
    let small = Content::from(vec![b' '; SMALL]);
    bodies
        .receive(&HeaderMap::new(), small)
        .await
        .expect("a turn of its own");
    drop(everything);
    // Theirs are bounded as well.
    let all = bodies.turns_of_small.reserve_at_most_all(usize::MAX).await;
    let _all = all.expect("all turns of small ones");
    let small = Content::from("rows");
    let refused = bodies.receive(&HeaderMap::new(), small).await;
    assert_eq!(refused.expect_err("no turn").status, 429);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let bodies = bodies(|config| config.body_seconds = 1);
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"[{"))]);
    let stuck = Content::from_stream(futures::StreamExt::chain(begun, stream::pending()));
    let read = reading(&bodies, HeaderMap::new(), stuck);
    assert_eq!(status_of(read.await), 408);
}

#[test]
fn a_trickle_is_given_up_and_a_slow_start_is_not() {
    let after = |seconds, bytes| Arrival {
        began: Instant::now()
            .checked_sub(Duration::from_secs(seconds))
            .expect("the machine runs longer than that"),
        bytes,
        ..Arrival::of(Content::empty(), Duration::from_secs(30))
    };
    assert!(!after(4, 1).is_a_trickle(), "it has only begun");
    assert!(!after(20, 1 << 20).is_a_trickle(), "fast enough");
    assert!(after(20, 100).is_a_trickle(), "too slow");
}

#[test]
fn amounts_are_told_as_people_read_them() {
    assert_eq!(amount(16 << 20), "16 MiB");
    assert_eq!(amount(1_536), "1536 bytes");
    assert_eq!(amount(2 << 10), "2 KiB");
}
