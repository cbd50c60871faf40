//! Unpacking a body piece by piece, so that whoever calls decides after every piece whether to go on. A kilobyte
//! can hold gigabytes; nothing here knows how much is too much, it only never gives more than it was asked for.
//!
//! Both formats allow several streams one after the other (`cat a.gz b.gz` makes such a file), and so do we, up
//! to a number that nobody needs. Anything else behind the end of a stream is damage, as is a missing end.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

/// The largest window of zstd that is taken, as a power of two: what its standard tells every decoder to take.
const MOST_WINDOW_LOG: u32 = 23;
/// More streams in one body than anybody has a reason to send; each costs the same whatever it holds.
const MOST_STREAMS: usize = 1_024;
/// The longest head of a gzip stream, with the name of a file and a comment.
const LONGEST_HEAD: usize = 512;
/// Checksum and length behind a gzip stream.
const TRAILER: usize = 8;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What `Content-Encoding` says, or the words of it that are not understood. One packing inside another
    /// is not: it has no use but to hide a bomb.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut said = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .map(|value| value.to_str().unwrap_or_default().trim());
        let first = said.next().unwrap_or("identity");
        if let Some(second) = said.next() {
            return Err(format!("{first}, {second}"));
        }
        match first.to_ascii_lowercase().as_str() {
            "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(first.to_owned()),
        }
    }
}

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it ends before it is complete")]
    Truncated,
    #[error(
        "it is damaged, not packed that way, needs a window beyond 8 MiB, or something follows its end"
    )]
    Corrupt,
    #[error("it consists of too many streams")]
    Streams,
}

/// What one step took and gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) taken: usize,
    pub(super) given: usize,
}

/// A body being unpacked.
pub(super) struct Inflater {
    format: Format,
    /// Streams that have ended.
    streams: usize,
    /// Whether the last byte taken was the last of a stream.
    at_end: bool,
}

enum Format {
    Gzip(Box<Gzip>),
    Zstd(ZstdDecoder<'static>),
}

impl Inflater {
    /// Of an encoding that packs.
    pub(super) fn new(encoding: Encoding) -> Option<Self> {
        let format = match encoding {
            Encoding::Identity => return None,
            Encoding::Gzip => Format::Gzip(Box::new(Gzip::new())),
            Encoding::Zstd => {
                let mut decoder = ZstdDecoder::new().expect("a decoder without dictionary");
                decoder
                    .set_parameter(DParameter::WindowLogMax(MOST_WINDOW_LOG))
                    .expect("within what the library allows");
                Format::Zstd(decoder)
            }
        };
        Some(Self {
            format,
            streams: 0,
            at_end: false,
        })
    }

    /// Unpacks some of `packed` into `room`. When it fills the room there may be more to come, also without
    /// any further input.
    pub(super) fn step(&mut self, packed: &[u8], room: &mut [u8]) -> Result<Step, Damage> {
        let (step, ended) = match &mut self.format {
            Format::Gzip(gzip) => gzip.step(packed, room)?,
            Format::Zstd(decoder) => zstd_step(decoder, packed, room)?,
        };
        if ended {
            self.streams += 1;
            if self.streams > MOST_STREAMS {
                return Err(Damage::Streams);
            }
        }
        if ended || step != Step::default() {
            self.at_end = ended;
        }
        Ok(step)
    }

    /// To be called when all is taken and given.
    pub(super) fn finish(&self) -> Result<(), Damage> {
        if self.at_end {
            Ok(())
        } else {
            Err(Damage::Truncated)
        }
    }
}

fn zstd_step(
    decoder: &mut ZstdDecoder<'static>,
    packed: &[u8],
    room: &mut [u8],
) -> Result<(Step, bool), Damage> {
    let status = decoder
        .run_on_buffers(packed, room)
        .map_err(|_| Damage::Corrupt)?;
    let step = Step {
        taken: status.bytes_read,
        given: status.bytes_written,
    };
    if step == Step::default() && !packed.is_empty() {
        return Err(Damage::Corrupt);
    }
    let ended = status.remaining == 0 && step != Step::default();
    Ok((step, ended))
}

/// A gzip stream (RFC 1952): a head, deflated bytes, and a checksum that is compared.
struct Gzip {
    stage: Stage,
    inflate: Decompress,
    checksum: Crc,
}

enum Stage {
    Head(Vec<u8>),
    Deflated,
    Trailer(Vec<u8>),
}

impl Gzip {
    fn new() -> Self {
        Self {
            stage: Stage::Head(Vec::new()),
            inflate: Decompress::new(false),
            checksum: Crc::new(),
        }
    }

    fn step(&mut self, packed: &[u8], room: &mut [u8]) -> Result<(Step, bool), Damage> {
        let mut step = Step::default();
        while step.given == 0 {
            let rest = &packed[step.taken..];
            match &mut self.stage {
                Stage::Head(head) => {
                    let Some(byte) = rest.first() else { break };
                    head.push(*byte);
                    step.taken += 1;
                    if is_whole_head(head)? {
                        self.inflate.reset(false);
                        self.checksum.reset();
                        self.stage = Stage::Deflated;
                    }
                }
                Stage::Deflated => {
                    let (inflated, status) = self.inflate_some(rest, room)?;
                    step.taken += inflated.taken;
                    step.given += inflated.given;
                    if status == Status::StreamEnd {
                        self.stage = Stage::Trailer(Vec::with_capacity(TRAILER));
                    } else if inflated == Step::default() {
                        break;
                    }
                }
                Stage::Trailer(trailer) => {
                    let missing = (TRAILER - trailer.len()).min(rest.len());
                    trailer.extend_from_slice(&rest[..missing]);
                    step.taken += missing;
                    if trailer.len() < TRAILER {
                        break;
                    }
                    let expected = [
                        self.checksum.sum().to_le_bytes(),
                        self.checksum.amount().to_le_bytes(),
                    ];
                    if trailer[..] != expected.concat() {
                        return Err(Damage::Corrupt);
                    }
                    self.stage = Stage::Head(Vec::new());
                    return Ok((step, true));
                }
            }
        }
        Ok((step, false))
    }

    fn inflate_some(&mut self, rest: &[u8], room: &mut [u8]) -> Result<(Step, Status), Damage> {
        let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(rest, room, FlushDecompress::None)
            .map_err(|_| Damage::Corrupt)?;
        let moved = |before: u64, after: u64| {
            usize::try_from(after - before).expect("no more than the slices hold")
        };
        let step = Step {
            taken: moved(taken, self.inflate.total_in()),
            given: moved(given, self.inflate.total_out()),
        };
        self.checksum.update(&room[..step.given]);
        Ok((step, status))
    }
}

/// Whether `head` is a whole head of a gzip stream.
fn is_whole_head(head: &[u8]) -> Result<bool, Damage> {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const UNKNOWN: u8 = 0xe0;
    let begins_well = head.iter().zip([0x1f, 0x8b, 8]).all(|(is, be)| *is == be);
    if !begins_well || head.len() > LONGEST_HEAD {
        return Err(Damage::Corrupt);
    }
    let Some(flags) = head.get(3) else {
        return Ok(false);
    };
    if flags & UNKNOWN != 0 {
        return Err(Damage::Corrupt);
    }
    let mut end = 10;
    if flags & EXTRA != 0 {
        let (Some(low), Some(high)) = (head.get(end), head.get(end + 1)) else {
            return Ok(false);
        };
        end += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let rest = head.get(end..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == 0) else {
                return Ok(false);
            };
            end += length + 1;
        }
    }
    if flags & CHECKSUM != 0 {
        end += 2;
    }
    Ok(head.len() >= end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text).expect("written");
        packer.finish().expect("finished")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).expect("packed")
    }

    /// Unpacks with pieces of these sizes, as a body that arrives in small parts.
    fn unpack(
        encoding: Encoding,
        packed: &[u8],
        part: usize,
        room: usize,
    ) -> Result<Vec<u8>, Damage> {
        let mut inflater = Inflater::new(encoding).expect("packs");
        let mut unpacked = Vec::new();
        let mut scratch = vec![0; room];
        for mut part in packed.chunks(part) {
            loop {
                let step = inflater.step(part, &mut scratch)?;
                part = &part[step.taken..];
                unpacked.extend_from_slice(&scratch[..step.given]);
                if part.is_empty() && step.given < room {
                    break;
                }
            }
        }
        inflater.finish().map(|()| unpacked)
    }

    fn text() -> Vec<u8> {
        let words = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761)).to_string());
        words.collect::<Vec<_>>().join(",").into_bytes()
    }

    #[test]
    fn what_was_packed_is_unpacked_whatever_the_parts() {
        for (encoding, packed) in [
            (Encoding::Gzip, gzip(&text())),
            (Encoding::Zstd, zstd(&text())),
        ] {
            for (part, room) in [(1, 7), (3, 64), (1_000, 1), (packed.len(), 1 << 16)] {
                let found = unpack(encoding, &packed, part, room);
                assert!(found == Ok(text()), "{encoding:?} {part} {room}");
            }
        }
    }

    #[test]
    fn an_empty_text_is_no_empty_body() {
        for (encoding, packed) in [(Encoding::Gzip, gzip(b"")), (Encoding::Zstd, zstd(b""))] {
            assert_eq!(unpack(encoding, &packed, 5, 10), Ok(vec![]));
            assert_eq!(unpack(encoding, b"", 5, 10), Err(Damage::Truncated));
        }
    }

    #[test]
    fn streams_one_after_the_other_are_one_text() {
        let two = [gzip(b"one,"), gzip(b"two")].concat();
        assert_eq!(unpack(Encoding::Gzip, &two, 4, 3), Ok(b"one,two".into()));
        let two = [zstd(b"one,"), zstd(b"two")].concat();
        assert_eq!(unpack(Encoding::Zstd, &two, 4, 3), Ok(b"one,two".into()));
    }

    #[test]
    fn more_streams_than_anybody_needs_are_refused() {
        for (encoding, one) in [(Encoding::Gzip, gzip(b"")), (Encoding::Zstd, zstd(b""))] {
            let many = one.repeat(MOST_STREAMS + 1);
            assert_eq!(unpack(encoding, &many, 100, 100), Err(Damage::Streams));
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        for (encoding, packed) in [
            (Encoding::Gzip, gzip(b"some,rows")),
            (Encoding::Zstd, zstd(b"some,rows")),
        ] {
            for length in 0..packed.len() {
                let found = unpack(encoding, &packed[..length], 100, 100);
                assert_eq!(found, Err(Damage::Truncated), "{encoding:?} {length}");
            }
        }
    }

    #[test]
    fn garbage_behind_the_end_is_refused() {
        for (encoding, packed) in [
            (Encoding::Gzip, gzip(b"some,rows")),
            (Encoding::Zstd, zstd(b"some,rows")),
        ] {
            for garbage in [b"garbage".as_slice(), b"\0\0\0\0\0\0\0\0"] {
                let found = unpack(encoding, &[&packed, garbage].concat(), 100, 100);
                assert_eq!(found, Err(Damage::Corrupt), "{encoding:?}");
            }
        }
    }

    #[test]
    fn a_changed_byte_never_makes_another_text() {
        let packed = gzip(&text()[..500]);
        // The head says when, where and how the text was packed, and is not covered by the checksum.
        for position in 10..packed.len() {
            let mut changed = packed.clone();
            changed[position] ^= 0x40;
            let found = unpack(Encoding::Gzip, &changed, 100, 100);
            // A few bits mean nothing: those that fill up the last byte of what is deflated.
            let same = found.as_deref() == Ok(&text()[..500]);
            assert!(same || found.is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_head_with_everything_is_understood() {
        let plain = gzip(b"rows");
        let mut packed = plain[..10].to_vec();
        packed[3] = 4 | 8 | 16;
        packed.extend_from_slice(b"\x02\0xyname.csv\0a comment\0");
        packed.extend_from_slice(&plain[10..]);
        assert_eq!(unpack(Encoding::Gzip, &packed, 1, 10), Ok(b"rows".into()));
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        let mut packer = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("a packer");
        packer.window_log(MOST_WINDOW_LOG + 1).expect("allowed");
        packer.write_all(b"rows").expect("written");
        let packed = packer.finish().expect("finished");
        let found = unpack(Encoding::Zstd, &packed, 100, 100);
        assert_eq!(found, Err(Damage::Corrupt));
    }

    #[test]
    fn one_encoding_is_understood_and_no_two() {
        let of = |said: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(CONTENT_ENCODING, said.parse().expect("a value"));
            }
            Encoding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["identity"]), Ok(Encoding::Identity));
        assert_eq!(of(&["GZIP"]), Ok(Encoding::Gzip));
        assert_eq!(of(&[" zstd "]), Ok(Encoding::Zstd));
        for unknown in [&["br"][..], &["gzip, gzip"], &["gzip", "zstd"], &[""]] {
            of(unknown).expect_err("not understood");
        }
    }
}
