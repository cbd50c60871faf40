//! What a sender can throw at the service: bombs, lies, floods. Each is refused with an answer that says what
//! was wrong, and costs next to nothing: that is measured on the memory of the running program.

use std::io::Write;
use std::time::Duration;

use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::proxy::Proxy;
use crate::served::{PREDICTIONS, Served, predictions};

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

async fn served(pool: PgPool, settings: &[(&str, &str)]) -> Served {
    let proxy = Proxy::start(&pool.connect_options()).await;
    Served::start(pool, &proxy.url(), settings).await
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(text).expect("written");
    packer.finish().expect("finished")
}

/// A frame of zstd that says one byte over and over, four bytes for each 128 KiB.
fn zstd_bomb(bytes: u64) -> Vec<u8> {
    const BLOCK: u64 = 128 << 10;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    let blocks = bytes / BLOCK;
    for block in 1..=blocks {
        let last = u64::from(block == blocks);
        let header = (BLOCK << 3) | (1 << 1) | last;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_an_address_says_is_judged_like_what_a_row_says(pool: PgPool) {
    let served = served(pool, &[]).await;
    let rows = predictions(["a".to_owned()]);
    let long = "n".repeat(5_000);
    let event = r#"{"specversion":"1.0","id":"a","type":"org.kubeflow.serving.inference.request","data":{}}"#;
    let json = [("content-type", "application/cloudevents+json")];
    for (path, headers, body, status) in [
        (
            "/api/v1/models/a%00b/predictions",
            &[NDJSON],
            rows.as_str(),
            422,
        ),
        ("/api/v1/models/a%00b/labels", &[NDJSON], "{}", 422),
        (
            &format!("{PREDICTIONS}?version=a%00b"),
            &[NDJSON],
            &rows,
            422,
        ),
        (
            &format!("{PREDICTIONS}?version={long}"),
            &[NDJSON],
            &rows,
            422,
        ),
        (
            &format!("/api/v1/cloudevents?model={long}"),
            &json,
            event,
            422,
        ),
        ("/api/v1/cloudevents?model=a%00b", &json, event, 422),
    ] {
        let answer = served.post_with(path, headers, body.as_bytes()).await;
        answer.problem(status);
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn bombs_and_damage_are_refused_and_cost_next_to_nothing(pool: PgPool) {
    let served = served(pool, &[]).await;
    let rows = predictions((0..50).map(|n| format!("good-{n}")));
    let good = gzip(rows.as_bytes());
    let blanks = gzip(&vec![b' '; 256 << 20]);
    let cut = &good[..good.len() - 3];
    let followed = [&good[..], b"and more"].concat();
    let zstd = zstd::encode_all(rows.as_bytes(), 3).expect("packed");
    let zstd_followed = [&zstd[..], b"and more"].concat();
    let before = served.resident();
    for (what, encoding, body, status) in [
        ("1 KiB for 32 MiB", "zstd", zstd_bomb(32 << 20), 413),
        ("320 KiB for 10 GiB", "zstd", zstd_bomb(10 << 30), 413),
        ("256 KiB for 256 MiB", "gzip", blanks.clone(), 413),
        ("one bomb in another", "gzip", gzip(&blanks), 422),
        ("packed twice", "gzip, gzip", gzip(&good), 415),
        ("a cut stream", "gzip", cut.to_vec(), 400),
        ("garbage behind gzip", "gzip", followed, 400),
        ("a cut frame", "zstd", zstd[..zstd.len() - 1].to_vec(), 400),
        ("garbage behind zstd", "zstd", zstd_followed, 400),
        ("gzip that is zstd", "gzip", zstd.clone(), 400),
        ("zstd that is gzip", "zstd", good.clone(), 400),
        ("nothing at all", "gzip", vec![], 400),
        ("an unknown name", "br", good.clone(), 415),
        ("a name that is near", "gzipped", good.clone(), 415),
    ] {
        let headers = [NDJSON, ("content-encoding", encoding)];
        let answer = served.post_with(PREDICTIONS, &headers, &body).await;
        if status == 422 {
            // What was inside was read as rows, and is none.
            assert!(matches!(answer.status, 200 | 422), "{what}: {answer:?}");
            continue;
        }
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        answer.problem(status);
        // Unpacking all of the largest would take longer.
        assert!(answer.took < Duration::from_secs(4), "{what}: {answer:?}");
    }
    let rise = served.most_resident().saturating_sub(before);
    println!("figure floods_bombs_rise_mib {rise}");
    assert!(rise <= 96, "rose by {rise} MiB");

    for (encoding, body) in [("gzip", good), ("zstd", zstd)] {
        let headers = [NDJSON, ("content-encoding", encoding)];
        let answer = served.post_with(PREDICTIONS, &headers, &body).await;
        assert_eq!(answer.status, 200, "{encoding}: {answer:?}");
    }
    assert!(served.metric("bellwether_intake_memory", &[]).await.abs() < 1.0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn many_bombs_at_once_cost_no_more_than_the_budget(pool: PgPool) {
    let served = served(pool, &[]).await;
    // Each comes as far as the limits allow: it packs 190 times, up to 64 MiB and beyond.
    let body = {
        let noise = (0..70_u32 << 20).map(|n| (n / 190).wrapping_mul(2_654_435_761) as u8);
        let text: Vec<u8> = noise.collect();
        zstd::encode_all(&text[..], 1).expect("packed")
    };
    let before = served.resident();
    let headers = [NDJSON, ("content-encoding", "zstd")];
    let senders = (0..48).map(|_| served.post_with(PREDICTIONS, &headers, &body));
    let answers = futures::future::join_all(senders).await;
    for answer in &answers {
        assert!(answer.status == 413 || answer.was_shed(), "{answer:?}");
    }
    assert!(answers.iter().any(|answer| answer.status == 413));
    let (rise, most) = (served.most_resident() - before, served.most_resident());
    println!("figure floods_many_bombs_rise_mib {rise}");
    println!("figure floods_many_bombs_resident_mib {most}");
    assert!(most <= 300, "{most} MiB");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn bodies_that_lie_or_dawdle_are_given_up(pool: PgPool) {
    let served = served(pool, &[("BELLWETHER_INTAKE_BODY_SECONDS", "2")]).await;
    let said = |length: &str| {
        let headers = [NDJSON, ("content-length", length)];
        served.head("POST", PREDICTIONS, &headers)
    };
    // It says more than it sends, and then says nothing.
    let answer = served.raw(&[said("1000").as_bytes(), b"{"]).await;
    answer.problem(408);
    assert!(answer.took < Duration::from_secs(20), "{answer:?}");
    // It says that it is too large, and sends nothing.
    let answer = served.raw(&[said("17000000").as_bytes()]).await;
    answer.problem(413);
    // It says less than it sends: the rest is no request.
    let answer = served.raw(&[said("2").as_bytes(), b"{}{}{}\r\n\r\n"]).await;
    assert!(matches!(answer.status, 200 | 400 | 422), "{answer:?}");
    // It does not say how long it is, and sends too much.
    let head = served.head(
        "POST",
        PREDICTIONS,
        &[NDJSON, ("transfer-encoding", "chunked")],
    );
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    let chunks: Vec<&[u8]> = std::iter::once(head.as_bytes())
        .chain(std::iter::repeat_n(&chunk[..], 20))
        .collect();
    served.raw(&chunks).await.problem(413);
    // It trickles, and the connection ends with the answer.
    let mut stream = TcpStream::connect(served.address).await.expect("connects");
    stream
        .write_all(said("100000").as_bytes())
        .await
        .expect("written");
    let (mut from, mut to) = stream.split();
    let mut answer = Vec::new();
    let trickle = async {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        while to.write_all(b" ").await.is_ok() {
            pace.tick().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = trickle => {}
        _ = from.read_to_end(&mut answer) => {}
    }
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn heads_that_are_too_large_are_refused(pool: PgPool) {
    let served = served(pool, &[]).await;
    let before = served.resident();
    let many: Vec<String> = (0..10_000).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let large = "a".repeat(40 << 10);
    let huge = "a".repeat(4 << 20);
    for (what, headers) in [
        ("10 000 fields", &many[..]),
        ("101 fields", &many[..101]),
        ("40 KiB", &[("x-large", large.as_str())]),
        ("4 MiB", &[("x-huge", huge.as_str())]),
    ] {
        let head = served.head("GET", "/api/v1/models", headers);
        let answer = served.raw(&[head.as_bytes()]).await;
        assert_eq!(answer.status, 431, "{what}: {answer:?}");
    }
    let head = served.head("GET", "/api/v1/models", &[("x-large", large.as_str())]);
    served.raw(&[head.as_bytes()]).await.problem(431);
    let most = &many[..90];
    let head = served.head("GET", "/api/v1/models", most);
    assert_eq!(served.raw(&[head.as_bytes()]).await.status, 200);
    let rise = served.most_resident().saturating_sub(before);
    assert!(rise <= 16, "rose by {rise} MiB");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn deep_and_wide_documents_are_refused(pool: PgPool) {
    let served = served(pool, &[]).await;
    let before = served.resident();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_object = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let attributes: Vec<String> = (0..1_000_000).map(|n| format!("\"f{n}\":1")).collect();
    let wide = format!(
        r#"{{"prediction_id":"a","timestamp":"2026-01-01T00:00:00Z","prediction":1,"features":{{{}}}}}"#,
        attributes.join(",")
    );
    for (what, body) in [
        ("deep array", &deep),
        ("deep object", &deep_object),
        ("a million attributes", &wide),
    ] {
        for (content_type, body) in [
            ("application/x-ndjson", body.clone()),
            ("application/json", format!("[{body}]")),
        ] {
            let answer = served
                .post(PREDICTIONS, content_type, body.as_bytes())
                .await;
            let refused = answer.status == 200 && answer.body.contains("\"kept\":0");
            let problem = (400..500).contains(&answer.status) && answer.status != 429;
            assert!(refused || problem, "{what} as {content_type}: {answer:?}");
        }
        let answer = served
            .post("/api/v1/models", "application/json", body.as_bytes())
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{what} as a model: {answer:?}"
        );
    }
    let rise = served.most_resident().saturating_sub(before);
    println!("figure floods_wide_rise_mib {rise}");
    assert!(rise <= 160, "rose by {rise} MiB");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn connections_beyond_the_limit_are_told_and_closed(pool: PgPool) {
    let served = served(pool, &[("BELLWETHER_SERVER_MAX_CONNECTIONS", "16")]).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(TcpStream::connect(served.address).await.expect("connects"));
    }
    let answer = served.get("/healthz").await;
    answer.problem(503);
    assert!(answer.was_shed());
    held.truncate(8);
    // A connection that ends is noticed; until then the answer is the same.
    let mut status = 503;
    for _ in 0..1_000 {
        status = served.get("/healthz").await.status;
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200);
    assert!(served.metric("bellwether_connections", &[]).await >= 8.0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_head_that_does_not_end_is_given_up_and_http2_is_served(pool: PgPool) {
    let served = served(pool, &[]).await;
    let mut slow = TcpStream::connect(served.address).await.expect("connects");
    slow.write_all(b"GET / HTTP/1.1\r\nhost:")
        .await
        .expect("written");
    let mut silent = TcpStream::connect(served.address).await.expect("connects");

    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = axum::http::Request::post(format!("http://{}{PREDICTIONS}", served.address))
        .header("authorization", format!("Bearer {}", served.token))
        .header("content-type", "application/x-ndjson")
        .body(axum::body::Body::from(predictions(["two".to_owned()])))
        .expect("a request");
    let answer = client.request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let large = axum::http::Request::get(format!("http://{}/healthz", served.address))
        .header("x-large", "a".repeat(40 << 10))
        .body(axum::body::Body::empty())
        .expect("a request");
    // The client may be told by a status or by a reset of its stream.
    if let Ok(answer) = client.request(large).await {
        assert_eq!(answer.status(), 431);
    }

    let ended = async {
        let mut nothing = Vec::new();
        let _ = slow.read_to_end(&mut nothing).await;
        let _ = silent.read_to_end(&mut nothing).await;
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .expect("both are closed");
    let slow = ["reason=\"slow_head\""];
    let closed = served
        .metric("bellwether_connections_closed_total", &slow)
        .await;
    assert!(closed >= 2.0, "{closed}");
}
