//! What a library asserts of a file, taken as an answer about the file.
//!
//! The libraries that read Arrow and Parquet panic over files whose parts contradict each other. Whoever sends such files
//! must not fill the log with panics, nor have the program look up the names of its own functions for each (the symbols
//! of a backtrace are tens of megabytes). So a panic in here is told to those who debug, in a line.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// What is said of a file over which a library panicked.
pub(super) const CONTRADICTORY: &str = "it is damaged: its parts contradict each other";

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, or nothing if it panics. Whatever it was working on is dropped then, so nothing half-done is
/// seen. Other threads' panics, and those from outside of it, are told as before.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |panic| {
            if IS_GUARDED.get() {
                tracing::debug!(%panic, "a file that is damaged");
            } else {
                told(panic);
            }
        }));
    });
    let was_guarded = IS_GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(was_guarded);
    done.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_answers_and_the_thread_is_as_it_was() {
        assert_eq!(guarded(|| 7), Some(7));
        let nested = guarded(|| {
            let inner: Option<()> = guarded(|| panic!("within"));
            assert_eq!(inner, None);
            assert!(IS_GUARDED.get(), "the outer one still holds");
        });
        assert_eq!(nested, Some(()));
        assert!(!IS_GUARDED.get());
    }
}
