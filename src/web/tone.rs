//! The few tones a state can have. A tone is a colour, a shape and, beside it, always a word: nobody has to
//! tell red from green.

/// How a thing stands, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Needs somebody now.
    Critical,
    /// Needs somebody today.
    Warning,
    /// Waits for a person or a machine.
    Waiting,
    /// Worth knowing.
    Info,
    /// As it should be.
    Good,
    /// Nothing to say.
    Quiet,
}

impl Tone {
    /// The class of badges and rows.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Waiting => "waiting",
            Self::Info => "info",
            Self::Good => "good",
            Self::Quiet => "quiet",
        }
    }

    /// The tone of a severity.
    #[must_use]
    pub fn of_severity(severity: &str) -> Self {
        match severity {
            "critical" => Self::Critical,
            "warning" => Self::Warning,
            _ => Self::Info,
        }
    }

    /// The tone of a state of a run, step, pipeline run or delivery.
    #[must_use]
    pub fn of_state(state: &str) -> Self {
        match state {
            "succeeded" | "delivered" | "accepted" | "approved" | "fitted" => Self::Good,
            "failed" | "permanent" => Self::Critical,
            "refused" | "declined" | "unknown" | "cancelled" | "retry" => Self::Warning,
            "waiting" => Self::Waiting,
            "running" | "watching" | "sending" | "requested" | "started" => Self::Info,
            _ => Self::Quiet,
        }
    }
}

/// A word with its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    pub word: String,
    pub tone: Tone,
}

impl Badge {
    /// A badge of its own words.
    pub fn new(word: impl Into<String>, tone: Tone) -> Self {
        Self {
            word: word.into(),
            tone,
        }
    }

    /// The badge of a severity.
    #[must_use]
    pub fn severity(severity: &str) -> Self {
        Self::new(capitalised(severity), Tone::of_severity(severity))
    }

    /// The badge of a state.
    #[must_use]
    pub fn state(state: &str) -> Self {
        Self::new(
            capitalised(&super::wording::words(state)),
            Tone::of_state(state),
        )
    }

    /// The class, for templates.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.tone.class()
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
