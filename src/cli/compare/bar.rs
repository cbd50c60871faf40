//! A progress bar on standard error, while it is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::services::comparison::Progress;

const WIDTH: usize = 32;
const EVERY: Duration = Duration::from_millis(100);
/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// Does the work, and shows how far it has come.
pub(super) fn shown_while<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, waiting) = channel::<()>();
        scope.spawn(move || {
            let started = Instant::now();
            let mut drawn = false;
            while waiting.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if started.elapsed() > PATIENCE
                    && let Some(share) = progress.share()
                {
                    draw(&line(share, started.elapsed()));
                    drawn = true;
                }
            }
            if drawn {
                draw("");
            }
        });
        let worked = work();
        drop(done);
        worked
    })
}

/// A bar that cannot be drawn is no reason to stop.
fn draw(line: &str) {
    let mut terminal = std::io::stderr().lock();
    drop(write!(terminal, "\r\x1b[K{line}").and_then(|()| terminal.flush()));
}

fn line(share: f64, elapsed: Duration) -> String {
    let filled = (share * WIDTH as f64).round() as usize;
    let bar: String = (0..WIDTH)
        .map(|at| if at < filled { '█' } else { '░' })
        .collect();
    format!("{bar} {:3.0} %  {} s", share * 100.0, elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_from_left_to_right() {
        let empty = line(0.0, Duration::from_secs(2));
        assert!(
            empty.ends_with("   0 %  2 s") && !empty.contains('█'),
            "{empty}"
        );
        let half = line(0.5, Duration::from_secs(61));
        assert_eq!(half.matches('█').count(), WIDTH / 2);
        assert!(!line(1.0, Duration::ZERO).contains('░'));
    }

    #[test]
    fn work_is_done_with_and_without_a_terminal() {
        assert_eq!(shown_while(&Progress::default(), || 7), 7);
    }
}
