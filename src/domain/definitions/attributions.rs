//! Reads which columns of a model's rows are attributions.

use std::collections::BTreeMap;

use super::fields;
use super::model::entries;
use super::problem::Sink;
use super::yaml::{Content, Node};
use crate::domain::attributions::Attributions;
use crate::domain::names;

/// A prefix that stands before the feature's name, or the column of each feature.
pub(super) fn read(node: &Node, sink: &mut Sink) -> Option<Attributions> {
    if !matches!(node.content, Content::Map(_)) {
        let prefix = fields::text(node, sink)?;
        return Some(Attributions::Prefix(names::canonical(&prefix).into_owned()));
    }
    let mut columns = BTreeMap::new();
    for (feature, column) in entries(node, "an attribution", sink)? {
        let named = fields::name_in_rows(column, sink)?;
        let feature = names::canonical(&feature).into_owned();
        if columns.insert(named.value.clone(), feature).is_some() {
            sink.note(
                named.place,
                format!(
                    "`{}` is the attribution of another feature already",
                    named.value
                ),
            );
            return None;
        }
    }
    Some(Attributions::Columns(columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definitions::{SourceFile, parse};

    fn read(attributions: &str) -> Result<Attributions, String> {
        let file = SourceFile {
            path: "a.yaml".to_owned(),
            text: format!("models:\n  - {{name: fares, task: regression{attributions}}}\n"),
        };
        match parse(&[file]) {
            Ok(definitions) => Ok(definitions.models[0].value.attributions.clone()),
            Err(problems) => Err(problems[0].cause.clone()),
        }
    }

    #[test]
    fn attributions_are_declared_by_prefix_or_one_by_one() {
        assert_eq!(read(""), Ok(Attributions::default()));
        let prefix = Attributions::Prefix("shap_".to_owned());
        assert_eq!(read(", attributions: shap_"), Ok(prefix));
        let columns = [("sv_0", "distance"), ("sv_1", "origin")];
        let columns = columns.map(|(column, feature)| (column.to_owned(), feature.to_owned()));
        assert_eq!(
            read(", attributions: {distance: sv_0, origin: sv_1}"),
            Ok(Attributions::Columns(columns.into()))
        );
        let twice = read(", attributions: {distance: sv_0, origin: sv_0}");
        assert!(twice.is_err_and(|cause| cause.contains("`sv_0` is the attribution of another")));
        let empty = read(", attributions: \"\"");
        assert!(
            empty.is_err_and(|cause| cause.contains("empty")),
            "an empty prefix"
        );
    }
}
