//! Faults on purpose: places where the process can be made to die, and defects that can be switched on. They are
//! how the crash tests (`tests/crash`) show that a kill at any line loses nothing and counts nothing twice, and
//! that their checker would notice if it did.
//!
//! Only builds with debug assertions have them; in a release, the functions here are empty. A process dies at
//! the `n`th pass of a point when `BELLWETHER_CRASH_AT=NAME:n` is set, by SIGKILL, as if somebody had pulled
//! the plug: nothing is flushed, dropped or rolled back by us.

/// Every crash point, in the order of the data's way. Each is placed in exactly one line.
pub const POINTS: &[&str] = &[
    "start.migrated",
    "start.before_ready",
    "intake.body_read",
    "intake.decoded",
    "version.before_commit",
    "version.after_commit",
    "intake.before_commit",
    "intake.after_commit",
    "intake.nudged",
    "settle.chosen",
    "settle.decoded",
    "settle.looked_up",
    "partitions.before_commit",
    "settle.partitions_made",
    "settle.locked",
    "settle.ids_admitted",
    "settle.keys_stored",
    "settle.chunk_removed",
    "settle.rows_stored",
    "settle.profiles_merged",
    "settle.labels_joined",
    "labels.revisions_kept",
    "labels.put",
    "labels.joined",
    "settle.between_batches",
    "inferences.joined",
    "inferences.halves_kept",
    "inferences.landed",
    "settle.before_commit",
    "settle.after_commit",
    "telemetry.inserted",
    "telemetry.before_commit",
    "telemetry.after_commit",
    "merge_keys.written",
    "merge_keys.before_commit",
    "baseline.before_swap",
    "baseline.swapped",
    "baseline.grid_swapped",
    "baseline.profiled",
    "baseline.before_commit",
    "baseline.after_commit",
    "baseline.window_fitted",
    "evaluate.read",
    "evaluate.computed",
    "evaluate.before_commit",
    "evaluate.after_commit",
    "evaluate.before_clear",
    "alert.decided",
    "alert.inserted",
    "alert.before_commit",
    "alert.after_commit",
    "runbook.before_commit",
    "runbook.after_commit",
    "pipeline.requested",
    "pipeline.before_trigger",
    "pipeline.triggered",
    "pipeline.recorded",
    "pipeline.before_finish",
    "delivery.claimed",
    "delivery.before_send",
    "delivery.sent",
    "delivery.before_mark",
    "delivery.marked",
    "retention.closed",
    "archive.file_written",
    "archive.files_written",
    "archive.manifest_written",
    "archive.verified",
    "retention.before_commit",
    "retention.after_commit",
    "retention.keys_swept",
    "retention.received_swept",
    "restore.noted",
    "restore.file_landed",
    "erasure.looked_up",
    "erasure.rows_taken_out",
    "erasure.before_commit",
    "erasure.after_commit",
    "erasure.manifest_written",
    "erasure.archive_done",
    "erasure.archive_noted",
    "shutdown.draining",
    "shutdown.drained",
];

/// Every defect that can be switched on with `BELLWETHER_DEFECT=NAME`.
pub const DEFECTS: &[&str] = &["acknowledge_before_commit", "skip_deduplication"];

/// Where the process may be made to die; otherwise nothing happens.
#[cfg(debug_assertions)]
pub fn crash_point(name: &'static str) {
    armed::pass(name);
}

/// Where the process may be made to die in builds for tests; this is not one.
#[cfg(not(debug_assertions))]
#[inline]
pub fn crash_point(_name: &'static str) {}

/// Whether a defect is switched on.
#[cfg(debug_assertions)]
#[must_use]
pub fn defect(name: &'static str) -> bool {
    armed::defect(name)
}

/// Whether a defect is switched on, which it never is in this build.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub fn defect(_name: &'static str) -> bool {
    false
}

#[cfg(debug_assertions)]
mod armed {
    use std::process::Command;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{DEFECTS, POINTS};

    /// The point to die at, and after how many passes.
    struct Armed {
        point: &'static str,
        pass: u64,
        passed: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let (point, pass) = from_environment("BELLWETHER_CRASH_AT", parse_point)?;
        Some(Armed {
            point,
            pass,
            passed: AtomicU64::new(0),
        })
    });
    static DEFECT: LazyLock<Option<&'static str>> = LazyLock::new(|| {
        from_environment("BELLWETHER_DEFECT", |text| {
            known(DEFECTS, text).ok_or_else(|| format!("there is no defect {text:?}"))
        })
    });

    pub(super) fn pass(name: &'static str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == name) else {
            return;
        };
        if armed.passed.fetch_add(1, Ordering::SeqCst) + 1 == armed.pass {
            die(name);
        }
    }

    pub(super) fn defect(name: &'static str) -> bool {
        *DEFECT == Some(name)
    }

    fn from_environment<T>(variable: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = std::env::var(variable).ok()?;
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            // A misspelt fault that never happens would look like a test that passes.
            Err(cause) => {
                eprintln!("bellwether: could not read {variable}: {cause}");
                std::process::exit(2)
            }
        }
    }

    fn parse_point(text: &str) -> Result<(&'static str, u64), String> {
        let (name, pass) = text.split_once(':').unwrap_or((text, "1"));
        let point =
            known(POINTS, name).ok_or_else(|| format!("there is no crash point {name:?}"))?;
        match pass.parse() {
            Ok(pass) if pass > 0 => Ok((point, pass)),
            _ => Err(format!("the pass {pass:?} is not a number from 1 on")),
        }
    }

    fn known(names: &[&'static str], name: &str) -> Option<&'static str> {
        names.iter().copied().find(|known| *known == name)
    }

    /// Kills this process and never returns. The shell does it, because sending a signal takes `unsafe` here.
    fn die(name: &str) -> ! {
        eprintln!("crash point {name} is reached");
        let kill = format!("kill -9 {}", std::process::id());
        let asked = Command::new("/bin/sh").args(["-c", &kill]).status();
        if !asked.is_ok_and(|status| status.success()) {
            std::process::abort();
        }
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn point_is_named_with_or_without_its_pass() {
            assert_eq!(parse_point("labels.put"), Ok(("labels.put", 1)));
            assert_eq!(parse_point("labels.put:3"), Ok(("labels.put", 3)));
        }

        #[test]
        fn what_is_not_a_point_or_not_a_pass_is_refused() {
            for text in ["", "labels.putt", "labels.put:0", "labels.put:x", ":1"] {
                assert!(parse_point(text).is_err(), "{text:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// The names that the sources outside this file give to a function of this module.
    fn placed(function: &str) -> Vec<String> {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut sources: Vec<PathBuf> = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of the sources") {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("src/faults.rs") {
                    sources.push(path);
                }
            }
        }
        let opening = format!("faults::{function}(\"");
        let mut names = Vec::new();
        for path in sources {
            let text = std::fs::read_to_string(&path).expect("a readable source");
            for after in text.split(&opening).skip(1) {
                let (name, _) = after.split_once('"').expect("a closing quote");
                names.push(name.to_owned());
            }
        }
        names.sort();
        names
    }

    #[test]
    fn every_point_is_placed_exactly_once_and_every_placed_name_is_listed() {
        let mut listed: Vec<&str> = POINTS.to_vec();
        listed.sort_unstable();
        assert_eq!(placed("crash_point"), listed);
    }

    #[test]
    fn every_defect_is_placed_exactly_once() {
        assert_eq!(placed("defect"), DEFECTS);
    }
}
