//! The fuzz targets in small: over their committed corpus and a few thousand mutations of it, the same ones every
//! time. So what a fuzzer once found stays found, on a stable compiler and in seconds; to look for something new,
//! run the targets themselves (fuzz/README.md).

#[path = "../../fuzz/bodies.rs"]
mod bodies;
mod corpus;
#[cfg(target_os = "linux")]
mod memory;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use bellwether::formats::Format;
use bodies::{TARGETS, target_of};

/// Mutations of each target's corpus.
const MUTATIONS: usize = 1_000;
/// The longest that one input may take: they are all small.
const SLOWEST: Duration = Duration::from_secs(5);
/// The longest that all inputs of a target may take.
const ALL: Duration = Duration::from_secs(120);
/// The whole folder stays small.
const MOST_BYTES: u64 = 300_000;
/// What breaks parsers, to be put anywhere.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"-inf",
    b"-0.0",
    b"1e308",
    b"1e400",
    b"5e-324",
    b"9007199254740993",
    b"18446744073709551617",
    b"\"",
    b"\n",
    b",",
    b"[[[[[[[[",
    b"{\"a\":",
    b"null",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80\x01",
    b"\xc3\x28",
    "\u{202E}".as_bytes(),
    "e\u{301}".as_bytes(),
    b"10000-01-01T00:00:00Z",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("a plain name")
    };
    entries.map(name).collect()
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let read = |name: String| {
        let bytes = std::fs::read(folder.join(&name)).expect("readable");
        (name, bytes)
    };
    names_in(&folder).into_iter().map(read).collect()
}

/// Runs a target over its corpus and over mutations of it.
fn run(name: &str) {
    let (_, body) = *(TARGETS.iter().find(|(of, _)| *of == name)).expect("a target");
    let seeds = corpus(name);
    let started = Instant::now();
    for (file, input) in &seeds {
        answered(body, input, file);
    }
    let mut rng = StdRng::seed_from_u64(31);
    for number in 0..MUTATIONS {
        let (input, seed) = mutation(&mut rng, &seeds);
        answered(body, &input, &format!("mutation {number}, of {seed}"));
        let taken = started.elapsed();
        assert!(taken < ALL, "{number} mutations took {taken:?}");
    }
}

fn answered(body: fn(&[u8]), input: &[u8], what: &str) {
    let started = Instant::now();
    let panicked = catch_unwind(AssertUnwindSafe(|| body(input))).is_err();
    let taken = started.elapsed();
    assert!(!panicked, "{what}: {:?}", String::from_utf8_lossy(input));
    assert!(
        taken < SLOWEST,
        "{what} took {taken:?}: {:?}",
        String::from_utf8_lossy(input)
    );
}

fn mutation(rng: &mut StdRng, seeds: &[(String, Vec<u8>)]) -> (Vec<u8>, String) {
    let (name, seed) = &seeds[rng.random_range(0..seeds.len())];
    let mut input = seed.clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=input.len());
        let end = rng.random_range(at..=input.len().min(at + 40));
        match rng.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            1 if at < input.len() => input[at] = rng.random(),
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].repeat(rng.random_range(1..20));
                input.splice(at..at, again);
            }
            5 => {
                let (_, other) = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                let to = rng.random_range(from..=other.len().min(from + 400));
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())];
                input.splice(at..end, token.iter().copied());
            }
        }
    }
    (input, name.clone())
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*
        const RUN: &[&str] = &[$(stringify!($name)),*];
    };
}
targets! { json ndjson csv parquet arrow sagemaker azureml landed archived profile keys states inflated tables definitions schemas logs traces metrics events }

#[test]
fn every_format_and_every_target_has_a_corpus_and_is_run() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for format in Format::ALL {
        assert!(targets.contains(target_of(format)), "{format:?}");
    }
    assert_eq!(
        RUN.iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        targets
    );
    assert_eq!(names_in(&folder().join("corpus")), targets);
    let files = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&folder().join("fuzz_targets")), files);
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).expect("readable");
    for target in &targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        assert!(corpus(target).len() >= 3, "{target} has hardly any corpus");
    }
    let bytes: usize = (targets.iter().flat_map(|target| corpus(target)))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(bytes as u64 <= MOST_BYTES, "{bytes} bytes");
}
