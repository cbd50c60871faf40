//! The outermost layer: accepts connections and keeps every one of them within bounds, before any route is
//! looked at. There are limits on how many are open, how long the head of a request takes, how long nothing
//! happens, how large a head is, and what HTTP/2 may hold back. `axum::serve` has none of them.
//!
//! When all connections are taken, another one is answered 503 and closed at once: left waiting in the
//! kernel's queue, it would look to its client as if the service hung.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter, UpDownCounter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tower::ServiceExt;

/// How long the head of a request may take from its first byte on, and the first byte after connecting.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// How long a connection stays open without a request. Longer than common clients keep theirs, so that it is
/// they who close it and no request meets a closed connection.
const LONGEST_IDLE: Duration = Duration::from_secs(95);
/// How long a connection that was told to end may take for what is under way.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long to pause when no connection can be accepted at all: usually the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// What is read ahead of a request, and so the largest head that is read at all. It is a little more than a
/// head may have, so that one that is too large mostly gets an answer with words.
const READ_AHEAD: usize = 48 << 10;
/// Requests of one HTTP/2 connection at a time.
const STREAMS: u32 = 128;
/// The largest head of a request over HTTP/2.
const HEADER_LIST: u32 = 32 << 10;
/// What a client may send over HTTP/2 before it is read: per request, and per connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 128 << 10;
/// What is kept of an answer over HTTP/2 that its client does not read.
const SEND_BUFFER: usize = 64 << 10;

/// What a connection is told that finds no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\
    content-length: 129\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"too many connections are open; try again in a moment\"}";

/// What the edge counts.
#[derive(Debug, Clone)]
pub struct Instruments {
    open: UpDownCounter<i64>,
    closed: Counter<u64>,
}

/// Why the service closed a connection by itself. The words are the metric's labels.
const NO_ROOM_REASON: &str = "no_room";
const SLOW_HEAD_REASON: &str = "slow_head";
const IDLE_REASON: &str = "idle";

impl Instruments {
    /// The instruments, made from the service's meter.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let instruments = Self {
            open: meter
                .i64_up_down_counter("bellwether_connections")
                .with_description("Open connections of clients")
                .build(),
            closed: meter
                .u64_counter("bellwether_connections_closed")
                .with_description("Connections the service closed by itself, by reason")
                .build(),
        };
        instruments.open.add(0, &[]);
        for reason in [NO_ROOM_REASON, SLOW_HEAD_REASON, IDLE_REASON] {
            instruments.count_closed(reason, 0);
        }
        instruments
    }

    fn count_closed(&self, reason: &'static str, connections: u64) {
        self.closed
            .add(connections, &[KeyValue::new("reason", reason)]);
    }
}

/// Serves until `stopping` turns true, then until the requests under way are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    most: usize,
    instruments: Instruments,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let free = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let builder = Arc::new(builder());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            // An error means that the sender is gone, which also ends the service.
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_unless_passing(&error).await;
                continue;
            }
        };
        let Ok(permit) = free.clone().try_acquire_owned() else {
            instruments.count_closed(NO_ROOM_REASON, 1);
            turn_away(&stream);
            continue;
        };
        let (builder, router) = (builder.clone(), router.clone());
        let (instruments, stopping) = (instruments.clone(), stopping.clone());
        connections.spawn(async move {
            instruments.open.add(1, &[]);
            serve_connection(stream, &builder, router, &instruments, stopping).await;
            instruments.open.add(-1, &[]);
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// A connection that broke before it was accepted is nobody's trouble; of anything else there will be more.
async fn pause_unless_passing(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!(%error, "could not accept a connection");
        interval_after(ACCEPT_PAUSE).tick().await;
    }
}

/// Answers without waiting for anything; a client that is not ready to hear it is closed without a word.
fn turn_away(stream: &TcpStream) {
    // What the client has said must be read first, or closing throws the answer away with it.
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(NO_ROOM);
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also runs while nothing is asked; the shorter limit on a head that has begun is kept below.
        .header_read_timeout(LONGEST_IDLE + LOOK)
        .max_buf_size(READ_AHEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn serve_connection(
    stream: TcpStream,
    builder: &Builder<TokioExecutor>,
    router: Router,
    instruments: &Instruments,
    mut stopping: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not switch off the gathering of small packets");
    }
    let activity = Arc::new(Activity::default());
    let counted = activity.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (router, under_way) = (router.clone(), UnderWay::begin(&counted));
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            drop(under_way);
            answer
        }
    });
    let io = TokioIo::new(Watched {
        stream,
        activity: activity.clone(),
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut look = interval_after(LOOK);
    let mut watch = Watch::new(Instant::now());
    let mut last_words = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            _ = stopping.wait_for(|stopping| *stopping), if last_words.is_none() => {
                connection.as_mut().graceful_shutdown();
                // Whoever stops the service waits for as long as it sees fit.
                last_words = Some(Duration::MAX);
            }
            _ = look.tick() => {
                let now = Instant::now();
                let verdict = watch.look(&activity.seen(), now);
                match (verdict, last_words) {
                    (Verdict::Fine, None) => {}
                    (Verdict::SlowHead, _) => {
                        instruments.count_closed(SLOW_HEAD_REASON, 1);
                        return;
                    }
                    (Verdict::Idle, None) => {
                        instruments.count_closed(IDLE_REASON, 1);
                        connection.as_mut().graceful_shutdown();
                        last_words = Some(LAST_WORDS);
                    }
                    (_, Some(left)) if left <= LOOK => return,
                    (_, Some(left)) => last_words = Some(left - LOOK),
                }
            }
        }
    }
}

fn interval_after(period: Duration) -> tokio::time::Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}

/// What happens on a connection, as its two ends see it.
#[derive(Debug, Default)]
struct Activity {
    /// Bytes read.
    read: AtomicU64,
    /// Requests that began, and that were answered.
    begun: AtomicU64,
    answered: AtomicU64,
}

/// [`Activity`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    read: u64,
    begun: u64,
    answered: u64,
}

impl Activity {
    fn seen(&self) -> Seen {
        Seen {
            answered: self.answered.load(Ordering::Relaxed),
            begun: self.begun.load(Ordering::Relaxed),
            read: self.read.load(Ordering::Relaxed),
        }
    }
}

/// A request that has not been answered, also one whose client has gone.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    SlowHead,
    Idle,
}

/// Judges a connection by what changed since it was looked at last.
#[derive(Debug)]
struct Watch {
    /// Since when no request is under way.
    quiet: Instant,
    /// Since when a head has begun and not ended, and how many bytes had been read before it.
    head: Option<Instant>,
    read: u64,
    begun: u64,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self {
            quiet: now,
            // The first is due from the start.
            head: Some(now),
            read: 0,
            begun: 0,
        }
    }

    fn look(&mut self, seen: &Seen, now: Instant) -> Verdict {
        if seen.begun > seen.answered || seen.begun > self.begun {
            *self = Self {
                quiet: now,
                head: None,
                read: seen.read,
                begun: seen.begun,
            };
            return Verdict::Fine;
        }
        if seen.read > self.read && self.head.is_none() {
            self.head = Some(now);
        }
        if self.head.is_some_and(|since| now - since >= LONGEST_HEAD) {
            return Verdict::SlowHead;
        }
        if now - self.quiet >= LONGEST_IDLE {
            return Verdict::Idle;
        }
        Verdict::Fine
    }
}

/// A stream that counts what is read from it.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.activity.read.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(read: u64, begun: u64, answered: u64) -> Seen {
        Seen {
            read,
            begun,
            answered,
        }
    }

    #[test]
    fn what_is_told_when_there_is_no_room_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NO_ROOM).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let said = format!("content-length: {}", body.len());
        assert!(head.contains(&said), "{said}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["status"], 503);
    }

    #[test]
    fn a_head_must_come_and_a_request_may_take_its_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silent = Watch::new(start);
        assert_eq!(silent.look(&seen(0, 0, 0), at(9)), Verdict::Fine);
        assert_eq!(silent.look(&seen(3, 0, 0), at(10)), Verdict::SlowHead);

        let mut at_work = Watch::new(start);
        assert_eq!(at_work.look(&seen(100, 1, 0), at(500)), Verdict::Fine);
        assert_eq!(at_work.look(&seen(100, 1, 1), at(502)), Verdict::Fine);
        // Idle, then a head that does not end.
        assert_eq!(at_work.look(&seen(100, 1, 1), at(530)), Verdict::Fine);
        assert_eq!(at_work.look(&seen(110, 1, 1), at(532)), Verdict::Fine);
        assert_eq!(at_work.look(&seen(115, 1, 1), at(541)), Verdict::Fine);
        assert_eq!(at_work.look(&seen(120, 1, 1), at(542)), Verdict::SlowHead);
    }

    #[test]
    fn a_connection_nobody_uses_ends() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(start);
        assert_eq!(watch.look(&seen(100, 1, 1), at(2)), Verdict::Fine);
        assert_eq!(watch.look(&seen(100, 1, 1), at(96)), Verdict::Fine);
        assert_eq!(watch.look(&seen(100, 1, 1), at(97)), Verdict::Idle);
    }
}
