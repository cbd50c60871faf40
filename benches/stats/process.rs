//! Processes, and what they use of the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// GNU time, which is called like the shell's own word.
const TIME: &str = "/usr/bin/time";

/// What a process and those it waited for have used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub user_seconds: f64,
    pub system_seconds: f64,
    pub elapsed_seconds: f64,
    pub resident_mebibytes: f64,
}

impl Usage {
    pub fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }

    pub fn told(&self) -> String {
        format!(
            "{:.1} s of processor time, {:.1} s elapsed, {:.0} MiB",
            self.cpu_seconds(),
            self.elapsed_seconds,
            self.resident_mebibytes
        )
    }
}

/// Runs a program to its end.
pub fn run(program: Command) -> anyhow::Result<Usage> {
    let output = Command::new(TIME)
        .args(["-f", "%U %S %e %M"])
        .arg(program.get_program())
        .args(program.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("run {TIME} (the package `time`)"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", told.trim());
    let last = told.trim().lines().last().unwrap_or_default();
    let numbers: Vec<f64> = last
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [user_seconds, system_seconds, elapsed_seconds, kibibytes] = numbers[..] else {
        anyhow::bail!("read what {TIME} says: {last:?}");
    };
    Ok(Usage {
        user_seconds,
        system_seconds,
        elapsed_seconds,
        resident_mebibytes: kibibytes / 1024.0,
    })
}

/// A peer's comparison of two files. The program is not called as the peer is: Python would import it in its place.
pub fn peer(python: &Path, peer: &str, files: &[PathBuf; 2]) -> Command {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/stats/peers/run_{peer}.py"));
    let mut command = Command::new(python);
    command.arg(program).args(files);
    command
}
