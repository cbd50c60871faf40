//! How much memory a decoder takes of the machine, whatever it is given: the corpus, sizes that are declared and not there,
//! and what is small as it is sent and large when it is read.
//!
//! It is measured from outside, by what the kernel says that the process has had resident at most, and so in a process of
//! its own. A counting allocator would need code that is not safe, or another crate, and count what other tests do at
//! the same time.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use parquet::basic::Compression;

use super::bodies::TARGETS;
use super::corpus;
use super::corpus::{arrow_stream, parquet_file};

/// KiB. The targets' limits come to a tenth of it: 8 MiB unpacked, 1 MiB of text, 50,000 cells; zstd's window is as large.
const MOST: u64 = 48 << 10;
/// And so many times what was sent, which may be held as it came, as text, and as rows.
const TIMES: u64 = 12;
/// Places of an input that is no text in which a size is declared that is not there.
const PLACES: usize = 100;
/// The test that measures.
const MEASURED_ALONE: &str = "fuzz::memory::measured_in_a_process_of_its_own";

#[test]
fn no_input_takes_memory_out_of_proportion() {
    let binary = std::env::current_exe().expect("this binary");
    let told = Command::new(binary)
        .args(["--exact", MEASURED_ALONE, "--ignored", "--nocapture"])
        // Large pieces go back to the system when they are free, and so are seen when they are taken again.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
        // The frames of a build for tests are many times as large, and YAML may be as deep as its parser lets it.
        .env("RUST_MIN_STACK", "67108864")
        // What a library asserts of a file is an answer; looking up the symbols of a backtrace would be most of what it takes.
        .env("RUST_BACKTRACE", "1")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&told.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "measures its whole process; the test above starts one for it"]
fn measured_in_a_process_of_its_own() {
    let mut beyond = Vec::new();
    for (name, body) in TARGETS {
        let seeds = corpus(name);
        // What is set up once is no part of what an input takes.
        for (_, input) in &seeds {
            body(input);
        }
        let mut largest = (0, String::new());
        let hostile = hostile(name, &seeds);
        let inputs = seeds
            .iter()
            .map(|(file, input)| (file.clone(), input.clone()));
        for (what, input) in inputs.chain(hostile) {
            let taken = taken_by(|| body(&input));
            let most = MOST + TIMES * (input.len() as u64 >> 10);
            if taken > most {
                beyond.push(format!(
                    "{name}: {what}, {} bytes, took {taken} KiB",
                    input.len()
                ));
            }
            if taken > largest.0 {
                largest = (taken, what);
            }
        }
        println!("{name}: at most {} KiB, by {}", largest.0, largest.1);
    }
    assert!(beyond.is_empty(), "{}", beyond.join("\n"));
    // That it can be seen: something is taken and let go.
    let taken = taken_by(|| drop(std::hint::black_box(vec![1_u8; (2 * MOST as usize) << 10])));
    assert!(taken > MOST, "{taken} KiB");
}

/// KiB that were resident at most, beyond those from before.
fn taken_by(work: impl FnOnce()) -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("the highest is forgotten");
    let before = resident("VmHWM:");
    let done = catch_unwind(AssertUnwindSafe(work));
    let most = resident("VmHWM:");
    assert!(done.is_ok(), "it panicked");
    most.saturating_sub(before)
}

/// KiB by that name.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect(name);
    let kibibytes = line.trim().trim_end_matches(" kB");
    kibibytes.parse().expect("a number")
}

/// Inputs made to take much, for a target with these seeds.
fn hostile(target: &str, seeds: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    // The files that `compare` reads are its caller's own: what a buffer says that it unpacks to is believed there.
    let is_tried =
        |(_, seed): &&(String, Vec<u8>)| target != "tables" && std::str::from_utf8(seed).is_err();
    for (file, seed) in seeds.iter().filter(is_tried) {
        let step = seed.len().div_ceil(PLACES).max(1);
        for at in (0..seed.len().saturating_sub(4)).step_by(step) {
            for size in [&b"\xff\xff\xff\x7f"[..], b"\xff\xff\xff\xff\x0f"] {
                let mut input = seed.clone();
                let end = input.len().min(at + size.len());
                input[at..end].copy_from_slice(&size[..end - at]);
                inputs.push((format!("{file} with a size of 2 GiB at {at}"), input));
            }
        }
    }
    let mut add = |what: &str, input: Vec<u8>| inputs.push((what.to_owned(), input));
    add("depth", [vec![b'['; 100_000], vec![b']'; 100_000]].concat());
    add("depth of objects", b"{\"a\":".repeat(100_000));
    let names: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":1")).collect();
    let row = format!(
        "{{\"prediction_id\":\"a\",\"timestamp\":\"2013-03-01T10:00:00Z\",{}}}",
        names.join(",")
    );
    add("100,000 names", row.into_bytes());
    add("blanks", vec![b' '; 1 << 20]);
    if target != "tables" {
        // There it is a header of a million names; a tenth of them is tried below.
        add("commas", vec![b','; 1 << 20]);
    }
    add("empty lists", b"[],".repeat(100_000));
    add("empty rows", b"{}\n".repeat(100_000));
    add(
        "a text",
        [vec![b'"'; 1], vec![b'x'; 1 << 20], vec![b'"'; 1]].concat(),
    );
    match target {
        "csv" | "tables" => {
            let header: Vec<String> = (0..100_000).map(|n| format!("c{n}")).collect();
            add(
                "100,000 columns",
                format!("{}\n{}\n", header.join(","), ",".repeat(99_999)).into(),
            );
        }
        "parquet" | "arrow" => {
            for (what, batch) in bombs() {
                add(
                    what,
                    match target {
                        "parquet" => parquet_file(&batch, Compression::ZSTD(Default::default())),
                        _ => arrow_stream(&batch, Some(arrow_ipc::CompressionType::ZSTD)),
                    },
                );
            }
        }
        "inflated" => {
            let blanks = vec![b' '; 64 << 20];
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            packer.write_all(&blanks).expect("written");
            add("64 MiB in gzip", packer.finish().expect("finished"));
            add(
                "64 MiB in zstd",
                zstd::encode_all(blanks.as_slice(), 19).expect("packed"),
            );
        }
        _ => {}
    }
    inputs
}

/// Columns that say little, often.
fn bombs() -> [(&'static str, RecordBatch); 2] {
    let batch = |name, column| RecordBatch::try_from_iter([(name, column)]).expect("a batch");
    let numbers = Int64Array::from_iter_values(std::iter::repeat_n(7, 2_000_000));
    let text = "x".repeat(9_000);
    let texts = StringArray::from_iter_values(std::iter::repeat_n(text.as_str(), 5_000));
    [
        (
            "2,000,000 rows of one number",
            batch("n", Arc::new(numbers) as _),
        ),
        (
            "5,000 rows of one long text",
            batch("t", Arc::new(texts) as _),
        ),
    ]
}
