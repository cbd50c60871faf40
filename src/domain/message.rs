//! What people are told, as data. A service decides that somebody should know and stores a [`Message`] with
//! the delivery; a channel only puts it into its own form. So every channel says the same thing, and what was
//! said can be shown and tested without sending anything.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::ids::AlertId;
use super::rule::Severity;

/// Why somebody is told.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum NotifyReason {
    AlertOpened,
    AlertResolved,
    /// A run waits for a person to approve or decline.
    ApprovalRequested,
    /// The gate found the candidate no better than the champion.
    CandidateRefused,
    CandidatePromoted,
    /// The watch found the former champion better than the present one.
    RollbackProposed,
}

impl NotifyReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::AlertOpened,
        Self::AlertResolved,
        Self::ApprovalRequested,
        Self::CandidateRefused,
        Self::CandidatePromoted,
        Self::RollbackProposed,
    ];

    /// The word used in SQL, JSON and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlertOpened => "alert_opened",
            Self::AlertResolved => "alert_resolved",
            Self::ApprovalRequested => "approval_requested",
            Self::CandidateRefused => "candidate_refused",
            Self::CandidatePromoted => "candidate_promoted",
            Self::RollbackProposed => "rollback_proposed",
        }
    }

    /// The event type that machines receive.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::AlertOpened => "alert.opened",
            Self::AlertResolved => "alert.resolved",
            Self::ApprovalRequested => "approval.requested",
            Self::CandidateRefused => "candidate.refused",
            Self::CandidatePromoted => "candidate.promoted",
            Self::RollbackProposed => "rollback.proposed",
        }
    }
}

/// Where a likely cause was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    DriftedFeature,
    Segment,
    RecentChange,
    Schema,
    /// What the labels say of it.
    Quality,
}

impl CauseKind {
    /// The word people read before the cause.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::DriftedFeature => "Feature",
            Self::Segment => "Segment",
            Self::RecentChange => "Change",
            Self::Schema => "Schema",
            Self::Quality => "Quality",
        }
    }
}

/// One likely cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Cause {
    pub kind: CauseKind,
    /// What it is about: the feature, the segment and its value, what was changed.
    pub title: String,
    /// What speaks for it, with the number.
    pub detail: String,
}

/// Somewhere to go on from the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Link {
    pub text: String,
    pub url: String,
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Message {
    pub reason: NotifyReason,
    pub project: String,
    /// Empty when it is about the project itself.
    pub model: String,
    /// The version it is about; empty when it is about the model as a whole.
    pub version: String,
    pub severity: Severity,
    pub rule: Option<String>,
    /// The news in a few words, without model and severity: "mean absolute error 14.94, limit 13.50".
    pub title: String,
    /// What is wrong (or decided, or asked) in one sentence, with the number and the threshold.
    pub what: String,
    /// How bad it is: against the baseline, for how many windows, for how much of the traffic. May be empty.
    pub how_bad: String,
    /// Since when the data show it.
    pub since: Option<DateTime<Utc>>,
    /// When it was decided to tell.
    pub at: DateTime<Utc>,
    /// The most likely first.
    pub causes: Vec<Cause>,
    /// The first thing to do. May be empty.
    pub next_step: String,
    pub runbook: Option<String>,
    pub links: Vec<Link>,
    pub alert_id: Option<AlertId>,
    /// The same for all messages about one alert, so that its mails are shown as one conversation.
    pub thread: String,
    /// Grows within a thread, so that a receiver can tell an old message that arrives late.
    pub sequence: i64,
}

impl Message {
    /// How long it has lasted, or lasted until it was over.
    #[must_use]
    pub fn lasted(&self) -> Option<chrono::TimeDelta> {
        self.since.map(|since| self.at - since)
    }

    /// The message as it may leave the process. Names and texts come from users' data and from other systems,
    /// so every text becomes one line of printable characters of bounded length, and only links that a browser
    /// opens as a page are kept. Without this a feature name could forge lines of a mail, or be megabytes.
    #[must_use]
    pub fn tidied(&self) -> Self {
        let causes = self.causes.iter().take(MOST_CAUSES).map(|cause| Cause {
            kind: cause.kind,
            title: one_line(&cause.title, 100),
            detail: one_line(&cause.detail, 160),
        });
        Self {
            reason: self.reason,
            project: one_line(&self.project, NAME_LENGTH),
            model: one_line(&self.model, NAME_LENGTH),
            version: one_line(&self.version, NAME_LENGTH),
            severity: self.severity,
            rule: self.rule.as_deref().map(|rule| one_line(rule, NAME_LENGTH)),
            title: one_line(&self.title, 160),
            what: one_line(&self.what, 240),
            how_bad: one_line(&self.how_bad, 160),
            since: self.since,
            at: self.at,
            causes: causes.collect(),
            next_step: one_line(&self.next_step, 240),
            runbook: self
                .runbook
                .as_deref()
                .map(|runbook| one_line(runbook, NAME_LENGTH)),
            links: self
                .links
                .iter()
                .filter_map(tidied_link)
                .take(MOST_LINKS)
                .collect(),
            alert_id: self.alert_id,
            thread: one_line(&self.thread, NAME_LENGTH),
            sequence: self.sequence,
        }
    }
}

const NAME_LENGTH: usize = 100;
const MOST_CAUSES: usize = 5;
const MOST_LINKS: usize = 6;
const LONGEST_URL: usize = 1_000;

/// The text on one line, without characters that are not seen or that turn the direction of reading, and with
/// an ellipsis where it was cut to `most` characters.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    // What is far beyond the limit is cut first, so that a huge text costs no huge work.
    let looked_at = most.saturating_mul(4);
    let seen: String = text
        .chars()
        .take(looked_at)
        .map(|c| if is_unseen(c) { ' ' } else { c })
        .collect();
    let line = seen.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most && text.chars().nth(looked_at).is_none() {
        return line;
    }
    let kept: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn tidied_link(link: &Link) -> Option<Link> {
    let url = web_address(&link.url)?;
    Some(Link {
        text: one_line(&link.text, 60),
        url,
    })
}

/// The address in its normal form, if it is one that a browser opens as a page and of a sensible length.
#[must_use]
pub fn web_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_page = matches!(url.scheme(), "http" | "https") && url.as_str().len() <= LONGEST_URL;
    is_page.then(|| url.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("a valid instant")
    }

    /// The critical alert of the demo's May, told for `reason`.
    pub(crate) fn example(reason: NotifyReason) -> Message {
        let cause = |kind, title: &str, detail: &str| Cause {
            kind,
            title: title.to_owned(),
            detail: detail.to_owned(),
        };
        let link = |text: &str, path: &str| Link {
            text: text.to_owned(),
            url: format!("https://bellwether.example/{path}"),
        };
        let (title, what, how_bad) = match reason {
            NotifyReason::AlertOpened => (
                "mean absolute error 14.94, limit 13.50",
                "Mean absolute error is 14.94 minutes in the week from 2013-05-01; the limit is 13.50.",
                "66 % above the baseline (9.00), on 2,871 labels (98 % have arrived), first window in breach.",
            ),
            NotifyReason::AlertResolved => (
                "mean absolute error 6.93, limit 13.50",
                "Mean absolute error is 6.93 minutes in the week from 2013-05-15; the limit is 13.50.",
                "At its worst 16.06, 78 % above the baseline (9.00).",
            ),
            NotifyReason::ApprovalRequested => (
                "approve retraining?",
                "The run \"quality regression\" asks: retrain air-time on all data up to 2013-05-14?",
                "Mean absolute error is 14.94, limit 13.50.",
            ),
            NotifyReason::CandidateRefused => (
                "v2 is not better than v1",
                "The gate refused v2: mean absolute error 9.25 against 8.89 of v1.",
                "4 % worse overall, on 2,790 labels; worse on 3 of 8 segments.",
            ),
            NotifyReason::CandidatePromoted => (
                "v3 replaces v1",
                "v3 is the champion now; v1 runs along as shadow. Approved by Ada Example.",
                "Mean absolute error 6.93 against 15.12 of v1 on 2,802 labels; better on 8 of 8 segments.",
            ),
            NotifyReason::RollbackProposed => (
                "v1 is better than v3 again",
                "v1, now shadow, beats the champion v3: mean absolute error 8.41 against 8.68.",
                "Better in 2 weeks in a row, on 5,644 labels.",
            ),
        };
        let next_step = match reason {
            NotifyReason::AlertOpened => {
                "Look at the worst segments first: if one carrier or route stands out, it is the data and not the model."
            }
            NotifyReason::AlertResolved => "",
            NotifyReason::ApprovalRequested => {
                "Read the diagnosis, then approve or decline with a reason."
            }
            NotifyReason::CandidateRefused => {
                "Nothing has changed: v1 stays champion. See on which segments v2 is worse."
            }
            NotifyReason::CandidatePromoted => {
                "Nothing. If v1 turns out better again, a rollback is proposed."
            }
            NotifyReason::RollbackProposed => {
                "Compare the two by segment, then approve or decline the rollback."
            }
        };
        let causes = match reason {
            NotifyReason::AlertOpened | NotifyReason::ApprovalRequested => vec![
                cause(
                    CauseKind::Segment,
                    "carrier = UA",
                    "mean absolute error 18.20 on 611 labels, baseline 9.42",
                ),
                cause(
                    CauseKind::DriftedFeature,
                    "temperature",
                    "population stability index 0.31, limit 0.20",
                ),
                cause(
                    CauseKind::RecentChange,
                    "v2 refused by the gate",
                    "2013-03-22, mean absolute error 9.25 against 8.89",
                ),
            ],
            _ => Vec::new(),
        };
        let version = match reason {
            NotifyReason::CandidateRefused => "v2",
            NotifyReason::CandidatePromoted | NotifyReason::RollbackProposed => "v3",
            _ => "v1",
        };
        Message {
            reason,
            project: "flights".to_owned(),
            model: "air-time".to_owned(),
            version: version.to_owned(),
            severity: Severity::Critical,
            rule: Some("quality-regression".to_owned()),
            title: title.to_owned(),
            what: what.to_owned(),
            how_bad: how_bad.to_owned(),
            since: Some(instant("2013-05-01T00:00:00Z")),
            at: instant("2013-05-08T03:00:00Z"),
            causes,
            next_step: next_step.to_owned(),
            runbook: Some("quality-regression".to_owned()),
            links: vec![
                link("Alert", "alerts/0197"),
                link("Model", "models/air-time"),
                link("Runbook", "runbooks/quality-regression"),
            ],
            alert_id: None,
            thread: "alert-0197".to_owned(),
            sequence: 1,
        }
    }

    /// A message all of whose texts were chosen by somebody who means harm.
    pub(crate) fn hostile() -> Message {
        let text = || {
            let forged =
                "x\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script>{{7*7}}\u{202e}";
            format!("{forged}{}", "𝄞".repeat(100_000))
        };
        let link = |url: &str| Link {
            text: text(),
            url: url.to_owned(),
        };
        Message {
            project: text(),
            model: text(),
            version: text(),
            rule: Some(text()),
            title: text(),
            what: text(),
            how_bad: text(),
            causes: vec![
                Cause {
                    kind: CauseKind::DriftedFeature,
                    title: text(),
                    detail: text(),
                };
                50
            ],
            next_step: text(),
            runbook: Some(text()),
            links: vec![
                link("javascript:alert(1)"),
                link("data:text/html,<script>alert(1)</script>"),
                link("https://example.org/\"><script>alert(1)</script>"),
            ],
            thread: text(),
            ..example(NotifyReason::AlertOpened)
        }
    }

    #[test]
    fn reasons_are_written_the_same_in_json_and_sql() {
        for reason in NotifyReason::ALL {
            let json = serde_json::to_string(&reason).expect("serialises");
            assert_eq!(json, format!("\"{}\"", reason.as_str()));
            assert_eq!(reason.event_type().replace('.', "_"), reason.as_str());
        }
    }

    #[test]
    fn stored_message_is_read_back_as_it_was() {
        let message = example(NotifyReason::AlertOpened);
        let json = serde_json::to_value(&message).expect("serialises");
        assert_eq!(
            serde_json::from_value::<Message>(json).expect("parses"),
            message
        );
    }

    #[test]
    fn tidying_leaves_an_ordinary_message_alone() {
        for reason in NotifyReason::ALL {
            assert_eq!(example(reason).tidied(), example(reason));
        }
    }

    #[test]
    fn tidying_bounds_every_text_and_keeps_only_web_links() {
        let tidied = hostile().tidied();
        let json = serde_json::to_string(&tidied).expect("serialises");
        assert!(json.len() < 20_000, "{} bytes", json.len());
        assert!(!json.contains("\\r") && !json.contains("\\n") && !json.contains('\u{202e}'));
        assert_eq!(tidied.links.len(), 1);
        assert!(
            tidied.links[0]
                .url
                .starts_with("https://example.org/%22%3E")
        );
    }

    #[test]
    fn one_line_cuts_between_characters_and_says_so() {
        for (text, most, expected) in [
            ("", 5, ""),
            ("short", 5, "short"),
            ("  two\r\n\tlines ", 20, "two lines"),
            ("ünïcödé", 4, "ünï…"),
            ("a\u{200b}b\u{202e}c\u{0}d", 20, "a b c d"),
            ("        far away", 2, "…"),
        ] {
            assert_eq!(one_line(text, most), expected, "{text:?}");
        }
    }
}
