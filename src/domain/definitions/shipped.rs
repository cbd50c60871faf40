//! The runbooks that come with Bellwether. A project's own runbook of the same name takes the place of a
//! shipped one.

use std::sync::LazyLock;

use super::problem::Sink;
use super::runbook::{self, RunbookDraft};

/// Name of the file and its text.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "quality-regression.md",
        include_str!("../../../runbooks/quality-regression.md"),
    ),
    ("rollback.md", include_str!("../../../runbooks/rollback.md")),
    (
        "schema-skew.md",
        include_str!("../../../runbooks/schema-skew.md"),
    ),
    (
        "feature-drift.md",
        include_str!("../../../runbooks/feature-drift.md"),
    ),
    (
        "no-predictions.md",
        include_str!("../../../runbooks/no-predictions.md"),
    ),
];

/// A shipped runbook with the name of its file.
pub(super) struct Shipped {
    pub file: String,
    pub draft: RunbookDraft,
}

/// All shipped runbooks.
pub(super) fn all() -> &'static [Shipped] {
    static ALL: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
        FILES
            .iter()
            .filter_map(|(file, text)| {
                let (_, draft) = runbook::read(text, &mut Sink::new(file))?;
                Some(Shipped {
                    file: format!("built-in/{file}"),
                    draft: draft?,
                })
            })
            .collect()
    });
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_runbook_is_sound_and_tells_people_all_four_things() {
        for (file, text) in FILES {
            let mut sink = Sink::new(file);
            runbook::read(text, &mut sink);
            assert_eq!(sink.problems, [], "{file}");
            for heading in ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"] {
                assert!(text.contains(heading), "{file} has no {heading}");
            }
        }
        assert_eq!(all().len(), FILES.len());
    }

    #[test]
    fn a_shipped_runbook_is_named_like_its_file() {
        for shipped in all() {
            let name = &shipped.draft.runbook.name;
            assert_eq!(shipped.file, format!("built-in/{name}.md"));
        }
    }

    #[test]
    fn what_a_shipped_runbook_proposes_is_shipped_too() {
        for shipped in all() {
            for proposed in &shipped.draft.proposed {
                assert!(all().iter().any(|s| s.draft.runbook.name == proposed.value));
            }
        }
    }
}
