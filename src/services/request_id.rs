//! The id that ties an answer to the log. It is the one thing a person is told about an internal error, so
//! every edge needs it at the place where it turns an error into an answer. It travels as a task-local and
//! not as an argument, because it decides nothing and would otherwise be threaded through every handler.

use std::future::Future;

use rand::distr::{Alphanumeric, SampleString};

const LONGEST_ECHOED: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id a caller sent, when it is short and harmless in a log; otherwise a new one.
#[must_use]
pub fn accept_or_make(presented: Option<&str>) -> String {
    presented
        .filter(|id| is_harmless(id))
        .map_or_else(make, str::to_owned)
}

/// Runs `work` as the request called `request_id`.
pub async fn scope<F: Future>(request_id: String, work: F) -> F::Output {
    CURRENT.scope(request_id, work).await
}

/// The id of the request being answered, or a new one outside a request.
#[must_use]
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| make())
}

fn is_harmless(id: &str) -> bool {
    (8..=LONGEST_ECHOED).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn make() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_echoed_and_any_other_replaced() {
        assert_eq!(accept_or_make(Some("4bf92f35-77b3")), "4bf92f35-77b3");
        for hostile in [
            "",
            "short",
            "with space in it",
            "<script>alert(1)</script>",
            "line\nbreak-line",
            &"x".repeat(65),
        ] {
            let made = accept_or_make(Some(hostile));
            assert_ne!(made, hostile);
            assert_eq!(made.len(), 20);
        }
    }

    #[tokio::test]
    async fn the_id_is_known_inside_the_request_and_fresh_outside() {
        assert_eq!(
            scope("request-1".into(), async { current() }).await,
            "request-1"
        );
        assert_ne!(current(), current());
    }
}
