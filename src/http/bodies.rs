//! What requests carry: bodies within their limits, and extractors that answer with problem documents where
//! axum's own would answer with plain text.
//!
//! A body is read here and nowhere else, because every limit holds while it arrives and not after: what is
//! sent, what it unpacks to, how many times larger that is, how long it takes, and what all bodies together
//! take of the memory ([`budget`]). A refusal costs what had arrived by then, and never the whole.

mod budget;
mod inflate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body as Content, Bytes};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use opentelemetry::metrics::Meter;

use self::budget::{Budget, Full, Reservation};
use self::inflate::{Damage, Encoding, Inflater};
use super::problem::{Problem, Shed};
use crate::config::IntakeConfig;
use crate::formats::Format;

/// The largest body of a request that is neither batch nor file, once unpacked.
pub const MOST_BYTES_OF_A_DOCUMENT: usize = 16 << 20;
/// Up to here a body may unpack to any multiple of what was sent: columns that say little pack very well.
const FREE_OF_RATIO: usize = 1 << 20;
/// How many bytes of bodies are turned into rows at a time. Rows take up to four times as much as the text they
/// are written in, so this decides more than the budget how much memory a flood takes.
const DECODED_AT_ONCE: u64 = 32 << 20;
/// How long a request waits for room, and for its turn to be decoded.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(250);
const WAIT_FOR_TURN: Duration = Duration::from_secs(2);
/// How long a sender may say nothing in the middle of a body.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a sender may be slower than [`LEAST_RATE`], so that a connection can get going.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes a second. What is slower is a fault or an attack.
const LEAST_RATE: u64 = 1_024;
/// How much is unpacked at once, and reserved at least.
const PIECE: usize = 64 << 10;
/// How much of a body that says how long it is is reserved before it comes. So a sender who is slow, or says more than it has,
/// holds little more of the memory than it has sent.
const BELIEVED: usize = 256 << 10;
/// Bodies up to this size wait for no turn behind large ones: those that are under way at a time are bounded by themselves.
const SMALL: usize = 16 << 10;
/// How many bytes of small bodies are turned into rows at a time.
const SMALL_AT_ONCE: u64 = 8 << 20;
/// How much of what zstd has unpacked it keeps for itself.
const ZSTD_WINDOW: usize = 8 << 20;
/// When a sender who found no room should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads bodies.
#[derive(Debug, Clone)]
pub struct Bodies {
    limits: Limits,
    budget: Budget,
    turns: Budget,
    turns_of_small: Budget,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    sent: usize,
    unpacked: usize,
    ratio: usize,
    time: Duration,
}

impl Bodies {
    /// Within these limits; what is held at present is shown by the meter.
    #[must_use]
    pub fn new(config: &IntakeConfig, meter: &Meter) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let held = meter
            .i64_up_down_counter("bellwether_intake_memory")
            .with_unit("By")
            .with_description("Memory reserved for bodies of requests under way")
            .build();
        let decoded = meter
            .i64_up_down_counter("bellwether_intake_decoding")
            .with_unit("By")
            .with_description("Bodies that are being turned into rows")
            .build();
        Self {
            limits: Limits {
                sent: size(config.max_body_bytes),
                unpacked: size(config.max_inflated_bytes),
                ratio: size(config.max_inflation_ratio),
                time: Duration::from_secs(config.body_seconds),
            },
            budget: Budget::new(config.memory_budget, WAIT_FOR_ROOM, held),
            turns: Budget::new(DECODED_AT_ONCE, WAIT_FOR_TURN, decoded.clone()),
            turns_of_small: Budget::new(SMALL_AT_ONCE, WAIT_FOR_TURN, decoded),
        }
    }

    /// Reads a body to its end; it may have `sent` bytes as it comes, and `most` unpacked.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: Content,
        (sent, most): (usize, usize),
    ) -> Result<Held, Problem> {
        let encoding = Encoding::of(headers).map_err(|said| unknown_encoding(&said))?;
        let length = content_length(headers);
        if length.is_some_and(|length| length > sent) {
            return Err(too_large(sent, most));
        }
        let reservation = self
            .budget
            .reserve(length.map_or(PIECE, |length| length.clamp(1, BELIEVED)))
            .await?;
        let mut arrival = Arrival::of(body, self.limits.time);
        let mut reading = Reading {
            bodies: self,
            sent,
            most,
            length: length.filter(|_| encoding == Encoding::Identity),
            bytes: Vec::new(),
            reservation,
            window: if encoding == Encoding::Zstd {
                ZSTD_WINDOW
            } else {
                0
            },
        };
        let mut inflater = Inflater::new(encoding);
        let mut scratch = inflater.is_some().then(|| vec![0; PIECE]);
        while let Some(part) = arrival.next().await? {
            if arrival.bytes > sent {
                return Err(too_large(sent, most));
            }
            match (&mut inflater, &mut scratch) {
                (Some(inflater), Some(scratch)) => {
                    reading
                        .inflate(inflater, &part, arrival.bytes, scratch)
                        .await?;
                }
                _ => reading.append(&part).await?,
            }
        }
        if let Some(inflater) = inflater {
            inflater.finish()?;
        }
        Ok(reading.done())
    }

    /// Reads a body of records to its end. The room is for it and for what is made of it, to be kept until the
    /// request is answered.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Content,
    ) -> Result<(Bytes, Room), Problem> {
        let limits = (self.limits.sent, self.limits.unpacked);
        self.receive_within(headers, body, limits).await
    }

    /// As [`Self::receive`], for exporters of OpenTelemetry, which do not cut what they send: what is not packed may be as
    /// large as what unpacks, and have a frame of so many bytes around it.
    pub(super) async fn receive_export(
        &self,
        headers: &HeaderMap,
        body: Content,
        frame: usize,
    ) -> Result<(Bytes, Room), Problem> {
        let most = self.limits.unpacked + frame;
        let sent = match Encoding::of(headers) {
            Ok(Encoding::Identity) => most.max(self.limits.sent),
            _ => self.limits.sent,
        };
        self.receive_within(headers, body, (sent, most)).await
    }

    async fn receive_within(
        &self,
        headers: &HeaderMap,
        body: Content,
        limits: (usize, usize),
    ) -> Result<(Bytes, Room), Problem> {
        let held = self.read(headers, body, limits).await?;
        let turns = if held.bytes.len() <= SMALL {
            &self.turns_of_small
        } else {
            &self.turns
        };
        let turn = turns.reserve_at_most_all(held.bytes.len()).await?;
        crate::faults::crash_point("intake.body_read");
        Ok((held.bytes, Room(held.reservation, turn)))
    }

    fn too_dense(&self) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the body unpacks to more than {} times what was sent; pack it less, or send it as it is",
                self.limits.ratio
            ),
        )
    }
}

fn too_large(sent: usize, most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "a body may have {} as sent and {} unpacked; send smaller parts, as `bellwether import` does",
            amount(sent),
            amount(most),
        ),
    )
}

/// Bytes as people read them.
fn amount(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body as far as it has been read.
struct Reading<'b> {
    bodies: &'b Bodies,
    sent: usize,
    most: usize,
    /// How long it is once unpacked, if it says so.
    length: Option<usize>,
    bytes: Vec<u8>,
    reservation: Reservation,
    window: usize,
}

impl Reading<'_> {
    async fn append(&mut self, part: &[u8]) -> Result<(), Problem> {
        let length = self.bytes.len() + part.len();
        if length > self.most {
            return Err(too_large(self.sent, self.most));
        }
        let held = length + length.min(self.window);
        if held > self.reservation.bytes() {
            // By halves again, so that a body of any size grows a few times only.
            let whole = self.length.unwrap_or(self.most) + self.most.min(self.window);
            let step = (self.reservation.bytes() / 2).max(PIECE);
            let wanted = (self.reservation.bytes() + step).clamp(held, whole.max(held));
            self.reservation.grow_to(wanted).await?;
        }
        if length > self.bytes.capacity() {
            let room = self.reservation.bytes().min(self.most).max(length);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    async fn inflate(
        &mut self,
        inflater: &mut Inflater,
        part: &[u8],
        sent: usize,
        scratch: &mut [u8],
    ) -> Result<(), Problem> {
        let mut packed = part;
        loop {
            let step = inflater.step(packed, scratch)?;
            packed = &packed[step.taken..];
            self.append(&scratch[..step.given]).await?;
            let unpacked = self.bytes.len();
            if unpacked > FREE_OF_RATIO && unpacked / self.bodies.limits.ratio > sent {
                return Err(self.bodies.too_dense());
            }
            if packed.is_empty() && step.given < scratch.len() {
                return Ok(());
            }
            // Unpacking never waits for anything; others want the thread too.
            tokio::task::coop::consume_budget().await;
        }
    }

    fn done(self) -> Held {
        let reservation = Arc::new(self.reservation);
        let owned = Owned {
            bytes: self.bytes,
            _reservation: reservation.clone(),
        };
        Held {
            bytes: Bytes::from_owner(owned),
            reservation,
        }
    }
}

/// A body's bytes with the room they take: the room is free when the last of both is dropped, so neither a
/// decoder that goes on after its caller has left is forgotten, nor what was made of the bytes.
#[derive(Debug)]
struct Held {
    bytes: Bytes,
    reservation: Arc<Reservation>,
}

struct Owned {
    bytes: Vec<u8>,
    _reservation: Arc<Reservation>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body on its way in.
struct Arrival {
    body: Content,
    began: Instant,
    time: Duration,
    /// How many have come.
    bytes: usize,
}

impl Arrival {
    fn of(body: Content, time: Duration) -> Self {
        Self {
            body,
            began: Instant::now(),
            time,
            bytes: 0,
        }
    }

    /// The next part.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let left = self.time.saturating_sub(self.began.elapsed());
            let coming = tokio::time::timeout(left.min(LONGEST_PAUSE), self.body.frame());
            let frame = match coming.await {
                Err(_) => return Err(self.too_slow()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "a body was not read to its end");
                    return Err(broken_off());
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(part) = frame.into_data() {
                self.bytes += part.len();
                if self.is_a_trickle() {
                    return Err(self.too_slow());
                }
                return Ok(Some(part));
            }
        }
    }

    fn is_a_trickle(&self) -> bool {
        let took = self.began.elapsed();
        (self.bytes as u64) < LEAST_RATE * took.saturating_sub(GRACE).as_secs()
    }

    fn too_slow(&self) -> Problem {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the body did not arrive within {} s, or in a trickle; send smaller parts",
                self.time.as_secs()
            ),
        )
    }
}

fn broken_off() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "the body could not be read to its end: the connection broke, or the body is not as long as was said",
    )
}

fn unknown_encoding(said: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "Content-Encoding {said:?} is not known; send gzip, zstd or none, and one of them only"
        ),
    )
}

impl From<Damage> for Problem {
    fn from(damage: Damage) -> Self {
        let told = format!("the body cannot be unpacked: {damage}");
        Self::new(StatusCode::BAD_REQUEST, told)
    }
}

impl From<Full> for Problem {
    fn from(_: Full) -> Self {
        Self::shed(
            StatusCode::TOO_MANY_REQUESTS,
            Shed::Memory,
            RETRY_AFTER,
            "too much is being sent at once; send it again in a moment",
        )
    }
}

/// A batch or file, with the format its `Content-Type` names.
#[derive(Debug)]
pub struct Upload {
    pub format: Format,
    pub body: Bytes,
    /// The room for the body and what is made of it; to be kept until the request is answered.
    pub room: Room,
}

/// Room in memory, free when it is dropped.
#[derive(Debug)]
pub struct Room(
    #[expect(dead_code, reason = "held, not looked at")] Arc<Reservation>,
    #[expect(dead_code, reason = "held, not looked at")] Reservation,
);

impl<S: Send + Sync> FromRequest<S> for Upload
where
    Bodies: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let content_type = head
            .headers
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default());
        let format = content_type
            .and_then(Format::from_content_type)
            .ok_or_else(|| unknown_format(content_type))?;
        let bodies = Bodies::from_ref(state);
        let (body, room) = bodies.receive(&head.headers, body).await?;
        Ok(Self { format, body, room })
    }
}

fn unknown_format(content_type: Option<&str>) -> Problem {
    let present = content_type.map_or_else(
        || "the request has no Content-Type".to_owned(),
        |content_type| format!("Content-Type {content_type:?} is not known"),
    );
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "{present}; send application/json, application/x-ndjson, text/csv or \
             application/vnd.apache.parquet, application/vnd.apache.arrow.stream"
        ),
    )
}

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: serde::de::DeserializeOwned,
    S: Send + Sync,
    Bodies: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let bodies = Bodies::from_ref(state);
        let limits = &bodies.limits;
        let limits = (limits.sent, MOST_BYTES_OF_A_DOCUMENT.min(limits.unpacked));
        let held = bodies.read(&head.headers, body, limits).await?;
        let request = Request::from_parts(head, Content::from(held.bytes));
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

/// Parameters behind the `?`.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Parameters in the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

#[cfg(test)]
mod tests;
