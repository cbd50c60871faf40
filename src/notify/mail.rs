//! How a message reads as a mail. It is read at three in the morning, on a phone or in a terminal, so the
//! first screen of 80 by 24 characters says model, what is wrong, how bad, since when, the likely causes, what
//! to do first, and where to click. The templates decide words and order; this module lays out lines.

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::message::{Cause, Link, Message, NotifyReason};

/// A mail's subject and its two bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// What the templates show. Every text has been tidied and is ready to print.
struct View<'a> {
    /// The project where it is about no model.
    model: &'a str,
    /// Model and version, as people say it.
    subject: String,
    severity: &'a str,
    title: &'a str,
    what: &'a str,
    how_bad: &'a str,
    since: Option<String>,
    lasted: Option<String>,
    /// The three most likely.
    causes: Vec<CauseView>,
    next_step: &'a str,
    /// On the first screen.
    links: &'a [Link],
    more_links: &'a [Link],
    project: &'a str,
    rule: Option<&'a str>,
    runbook: Option<&'a str>,
    at: String,
}

struct CauseView {
    number: usize,
    label: &'static str,
    title: String,
    detail: String,
}

const WIDTH: usize = 78;
/// Where the values of the text body begin.
const COLUMN: usize = 10;
const SHOWN_CAUSES: usize = 3;
const SHOWN_LINKS: usize = 3;

impl<'a> View<'a> {
    /// A view of a tidied message.
    fn new(message: &'a Message) -> Self {
        let shown = message.links.len().min(SHOWN_LINKS);
        let (links, more_links) = message.links.split_at(shown);
        let causes = message.causes.iter().take(SHOWN_CAUSES).enumerate();
        let model = match message.model.as_str() {
            "" => &message.project,
            model => model,
        };
        Self {
            model,
            subject: format!("{model} {}", message.version).trim_end().to_owned(),
            severity: message.severity.as_str(),
            title: &message.title,
            what: &message.what,
            how_bad: &message.how_bad,
            since: message.since.map(instant),
            lasted: message.lasted().map(length),
            causes: causes.map(|(index, cause)| view(index, cause)).collect(),
            next_step: &message.next_step,
            links,
            more_links,
            project: &message.project,
            rule: message.rule.as_deref(),
            runbook: message.runbook.as_deref(),
            at: instant(message.at),
        }
    }

    /// The headline of the text body: one line.
    fn headline(&self, tag: &str) -> String {
        let line = format!("[{tag}] {}: {}", self.subject, self.title);
        fit(&line, 0, 1)
    }

    /// A text in the column of values, on at most `lines` lines; a method because templates call those.
    fn fit(&self, text: &str, lines: usize) -> String {
        fit(text, COLUMN, lines)
    }
}

impl CauseView {
    fn fit(&self) -> String {
        let text = format!("{} {}: {}", self.label, self.title, self.detail);
        fit(&text, 4, 2)
    }
}

fn view(index: usize, cause: &Cause) -> CauseView {
    CauseView {
        number: index + 1,
        label: cause.kind.label(),
        title: cause.title.clone(),
        detail: cause.detail.clone(),
    }
}

/// Breaks a text between words into at most `most` lines that start at column `indent`; the first is not
/// indented, because its label stands there. What does not fit ends in an ellipsis; a word longer than a line
/// is broken.
fn fit(text: &str, indent: usize, most: usize) -> String {
    let width = WIDTH - indent;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let characters: Vec<char> = word.chars().collect();
        for piece in characters.chunks(width) {
            let line = lines.last_mut().expect("there is always a line");
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + piece.len() > width {
                lines.push(piece.iter().collect());
            } else {
                line.extend(std::iter::repeat_n(' ', gap).chain(piece.iter().copied()));
            }
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        let last = lines.last_mut().expect("at least one line is kept");
        let kept: String = last.chars().take(width - 1).collect();
        *last = format!("{}…", kept.trim_end());
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A length of time in its two largest units.
fn length(length: TimeDelta) -> String {
    let minutes = length.num_minutes().max(0);
    let (days, hours) = (minutes / 1_440, minutes / 60 % 24);
    let plural = if days == 1 { "day" } else { "days" };
    match (days, hours, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} {plural}"),
        (days, hours, _) => format!("{days} {plural} {hours} h"),
    }
}

/// A message as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub subject: String,
    pub text: String,
}

/// The letter that says `message`; nothing only if its template cannot be rendered, which the log then says.
#[must_use]
pub fn letter(message: &Message) -> Option<Letter> {
    match render(&message.tidied()) {
        Ok(mail) => Some(Letter {
            subject: mail.subject,
            text: mail.text,
        }),
        Err(error) => {
            tracing::error!(%error, "could not render a message");
            None
        }
    }
}

macro_rules! mails {
    ($($reason:ident: $module:ident = $subject:tt, $text:tt, $html:tt;)+) => {
        $(mod $module {
            use super::View;

            #[derive(askama::Template)]
            #[template(path = $subject)]
            pub(super) struct Subject<'a> { pub(super) m: &'a View<'a> }

            #[derive(askama::Template)]
            #[template(path = $text)]
            pub(super) struct Text<'a> { pub(super) m: &'a View<'a> }

            #[derive(askama::Template)]
            #[template(path = $html)]
            pub(super) struct Html<'a> { pub(super) m: &'a View<'a> }
        })+

        /// The mail that says `message`, whose texts must have been tidied.
        ///
        /// # Errors
        /// If a template cannot be rendered.
        pub(super) fn render(message: &Message) -> Result<Mail, askama::Error> {
            let m = &View::new(message);
            match message.reason {
                $(NotifyReason::$reason => Ok(Mail {
                    subject: $module::Subject { m }.render()?,
                    text: $module::Text { m }.render()?,
                    html: $module::Html { m }.render()?,
                }),)+
            }
        }
    };
}

mails! {
    AlertOpened: alert_opened = "messages/alert_opened/subject.txt", "messages/alert_opened/body.txt", "messages/alert_opened/body.html";
    AlertResolved: alert_resolved = "messages/alert_resolved/subject.txt", "messages/alert_resolved/body.txt", "messages/alert_resolved/body.html";
    ApprovalRequested: approval_requested = "messages/approval_requested/subject.txt", "messages/approval_requested/body.txt", "messages/approval_requested/body.html";
    CandidateRefused: candidate_refused = "messages/candidate_refused/subject.txt", "messages/candidate_refused/body.txt", "messages/candidate_refused/body.html";
    CandidatePromoted: candidate_promoted = "messages/candidate_promoted/subject.txt", "messages/candidate_promoted/body.txt", "messages/candidate_promoted/body.html";
    RollbackProposed: rollback_proposed = "messages/rollback_proposed/subject.txt", "messages/rollback_proposed/body.txt", "messages/rollback_proposed/body.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::tests::{example, hostile};

    fn rendered(message: &Message) -> Mail {
        render(&message.tidied()).expect("renders")
    }

    fn first_screen(text: &str) -> String {
        text.lines().take(24).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn mails_read_as_designed() {
        for reason in NotifyReason::ALL {
            let mail = rendered(&example(reason));
            let text = format!("Subject: {}\n\n{}", mail.subject, mail.text);
            insta::assert_snapshot!(format!("{}_text", reason.as_str()), text);
        }
        let opened = rendered(&example(NotifyReason::AlertOpened));
        insta::assert_snapshot!("alert_opened_html", opened.html);
    }

    #[test]
    fn first_screen_says_everything_that_matters() {
        for reason in NotifyReason::ALL {
            let message = example(reason);
            let text = rendered(&message).text;
            let screen = first_screen(&text);
            let flowing = screen.split_whitespace().collect::<Vec<_>>().join(" ");
            for expected in [&message.model, &message.what, &message.next_step]
                .into_iter()
                .chain(message.links.iter().map(|link| &link.url))
            {
                assert!(
                    flowing.contains(expected),
                    "{reason:?}: {expected}\n{screen}"
                );
            }
            assert!(screen.lines().all(|line| line.chars().count() <= 80));
        }
    }

    #[test]
    fn first_screen_holds_even_the_longest_message() {
        for reason in NotifyReason::ALL {
            let mut message = Message {
                reason,
                ..hostile()
            };
            let at_example = |text: &str| Link {
                text: text.to_owned(),
                url: "https://bellwether.example/".to_owned(),
            };
            message.links = ["One", "Two", "Three", "Four"].map(at_example).to_vec();
            let text = rendered(&message).text;
            let screen = first_screen(&text);
            assert!(screen.contains("Three: https://"), "{reason:?}\n{screen}");
            assert!(screen.lines().all(|line| line.chars().count() <= 80));
        }
    }

    #[test]
    fn names_are_never_markup_nor_template() {
        let mail = rendered(&hostile());
        assert_eq!(mail.subject.lines().count(), 1);
        assert!(!mail.html.contains("<script") && mail.html.contains("&#60;script&#62;"));
        assert!(mail.text.contains("{{7*7}}") && !mail.text.contains("x49"));
        assert!(!mail.html.contains("javascript:") && !mail.html.contains("data:"));
    }

    #[test]
    fn html_asks_no_other_host_for_anything() {
        for reason in NotifyReason::ALL {
            let html = rendered(&example(reason)).html;
            for element in [
                "<img", "<link", "<script", "<table", "src=", "url(", "@import",
            ] {
                assert!(!html.contains(element), "{reason:?}: {element}");
            }
            assert!(html.contains("prefers-color-scheme: dark"));
        }
    }

    #[test]
    fn what_a_message_lacks_leaves_no_empty_label() {
        for reason in NotifyReason::ALL {
            let message = Message {
                version: String::new(),
                rule: None,
                how_bad: String::new(),
                since: None,
                causes: Vec::new(),
                next_step: String::new(),
                runbook: None,
                links: Vec::new(),
                ..example(reason)
            };
            let mail = rendered(&message);
            for line in mail.text.lines().filter(|line| *line != "-- ") {
                assert!(line == line.trim_end(), "{reason:?}: {:?}", mail.text);
            }
            assert!(!mail.text.contains("\n\n\n"), "{reason:?}: {:?}", mail.text);
            for part in ["<ol>", "<dd></dd>", "<ul>"] {
                assert!(!mail.html.contains(part), "{reason:?}: {part}");
            }
        }
    }

    #[test]
    fn lengths_are_said_in_two_units() {
        for (minutes, expected) in [
            (-5, "0 min"),
            (0, "0 min"),
            (59, "59 min"),
            (60, "1 h"),
            (61, "1 h 1 min"),
            (1_440, "1 day"),
            (1_505, "1 day 1 h"),
            (2_880, "2 days"),
            (10_290, "7 days 3 h"),
        ] {
            assert_eq!(length(TimeDelta::minutes(minutes)), expected);
        }
    }

    #[test]
    fn text_is_broken_between_words_and_cut_with_an_ellipsis() {
        for (text, lines, expected) in [
            ("", 2, String::new()),
            ("a few words", 2, "a few words".to_owned()),
            (
                &"word ".repeat(14),
                1,
                format!("{}…", "word ".repeat(13).trim_end()),
            ),
            (
                &"x".repeat(100),
                2,
                format!("{}\n          {}", "x".repeat(68), "x".repeat(32)),
            ),
            (
                &"x".repeat(200),
                2,
                format!("{}\n          {}…", "x".repeat(68), "x".repeat(67)),
            ),
        ] {
            assert_eq!(fit(text.trim_end(), COLUMN, lines), expected);
        }
    }
}
