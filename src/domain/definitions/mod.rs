//! Configuration as code: a directory of YAML files and Markdown runbooks, read into checked definitions.
//!
//! Reading is pure, text in and values out, so that `bellwether check` needs no service, `bellwether apply`
//! cannot bring in what was not checked, and a test can say what a broken file is told. All mistakes of all
//! files are reported together, each with its place. Past [`parse`], every name a definition uses is the name
//! of something, every measure fits its model's task, and every threshold can be reached.

mod against;
mod attributions;
mod fields;
mod model;
mod monitors;
mod outlook;
mod problem;
mod quality;
mod receiver;
mod references;
mod rule;
mod runbook;
mod schema_text;
mod serving;
mod shipped;
mod yaml;

use serde::{Deserialize, Serialize};

pub use model::{BaselineDef, BaselineSource, ModelDef, SchemaDef};
pub use monitors::{FALL_BACK, MonitorDef, MonitorKind};
pub use problem::{Problem, check_report, did_you_mean};
pub use receiver::{Channel, ProjectDef, ReceiverDef};
pub use references::bounds;
pub use schema_text::schema_yaml;

use self::fields::{Fields, Located};
use self::problem::{Place, Sink};
use self::receiver::ProjectDraft;
use self::rule::RuleDraft;
use self::runbook::RunbookDraft;
use self::yaml::{Content, Node};
use super::pipeline::PipelineDef;
use super::rule::Rule;
use super::runbook::Runbook;

/// A file of the configuration directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the configuration directory, with `/` between its parts.
    pub path: String,
    pub text: String,
}

/// An object and where it was defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Defined<T> {
    /// Relative to the configuration directory; `built-in/…` for what comes with Bellwether.
    pub file: String,
    pub line: u32,
    pub value: T,
}

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Definitions {
    pub project: Option<Defined<ProjectDef>>,
    pub models: Vec<Defined<ModelDef>>,
    pub rules: Vec<Defined<Rule>>,
    pub receivers: Vec<Defined<ReceiverDef>>,
    pub pipelines: Vec<Defined<PipelineDef>>,
    /// The project's own runbooks; see [`Definitions::with_shipped`].
    pub runbooks: Vec<Defined<Runbook>>,
}

impl Definitions {
    /// Adds the runbooks that come with Bellwether, except where the project has its own of that name.
    #[must_use]
    pub fn with_shipped(mut self) -> Self {
        for shipped in shipped_runbooks() {
            if !self
                .runbooks
                .iter()
                .any(|own| own.value.name == shipped.value.name)
            {
                self.runbooks.push(shipped);
            }
        }
        self
    }
}

/// The runbooks that come with Bellwether.
#[must_use]
pub fn shipped_runbooks() -> Vec<Defined<Runbook>> {
    shipped::all()
        .iter()
        .map(|shipped| Defined {
            file: shipped.file.clone(),
            line: 1,
            value: shipped.draft.runbook.clone(),
        })
        .collect()
}

const TOP_KEYS: &[&str] = &["project", "models", "rules", "receivers", "pipelines"];

/// Files above this size are a mistake: configuration is written by people.
const MOST_BYTES: usize = 1 << 20;

/// Reads a configuration directory. Files that are neither YAML nor Markdown are passed over, and so is
/// Markdown without front matter.
///
/// # Errors
///
/// All problems of all files, sorted by file and place.
pub fn parse(files: &[SourceFile]) -> Result<Definitions, Vec<Problem>> {
    let mut contents = Contents::default();
    let mut problems = Vec::new();
    for file in files {
        let mut sink = Sink::new(&file.path);
        contents.read(file, &mut sink);
        problems.append(&mut sink.problems);
    }
    let rules = references::resolve(&contents, &mut problems);
    if problems.is_empty() {
        return Ok(contents.into_definitions(rules));
    }
    problems.sort();
    problems.dedup();
    Err(problems)
}

/// Something that was written down. Its name is known even where the rest is wrong, so that what refers to it
/// is not blamed as well.
#[derive(Debug)]
struct Entry<T> {
    file: String,
    place: Place,
    name: Option<Located<String>>,
    value: Option<T>,
}

impl<T> Entry<T> {
    fn new(sink: &Sink, place: Place, (name, value): (Option<Located<String>>, Option<T>)) -> Self {
        Self {
            file: sink.file().to_owned(),
            place,
            name,
            value,
        }
    }

    fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.value.as_str())
    }

    fn into_defined<U>(self, change: impl FnOnce(T) -> U) -> Option<Defined<U>> {
        Some(Defined {
            file: self.file,
            line: self.place.line,
            value: change(self.value?),
        })
    }
}

/// Everything that is written in the files, in their order.
#[derive(Debug, Default)]
struct Contents {
    projects: Vec<Entry<ProjectDraft>>,
    models: Vec<Entry<ModelDef>>,
    rules: Vec<Entry<RuleDraft>>,
    receivers: Vec<Entry<ReceiverDef>>,
    pipelines: Vec<Entry<PipelineDef>>,
    runbooks: Vec<Entry<RunbookDraft>>,
}

impl Contents {
    fn read(&mut self, file: &SourceFile, sink: &mut Sink) {
        let ending = file.path.rsplit('.').next().unwrap_or_default();
        let known = matches!(ending, "yaml" | "yml" | "md");
        if known && file.text.len() > MOST_BYTES {
            sink.note(
                Place::START,
                "this file is larger than 1 MiB; configuration is split into smaller files",
            );
            return;
        }
        // Some editors begin a file with this invisible mark; it is no part of the text.
        let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
        match ending {
            "yaml" | "yml" => self.read_yaml(text, sink),
            "md" => {
                if let Some(read) = runbook::read(text, sink) {
                    self.runbooks.push(Entry::new(sink, Place::START, read));
                }
            }
            _ => {}
        }
    }

    fn read_yaml(&mut self, text: &str, sink: &mut Sink) {
        let loaded = yaml::load(text);
        for (place, cause) in loaded.faults {
            sink.note(place, cause);
        }
        let Some(root) = loaded.root else { return };
        let Some(f) = Fields::read(&root, "a configuration file", TOP_KEYS, sink) else {
            return;
        };
        if let Some(node) = f.get("project") {
            let read = receiver::read_project(node, sink);
            self.projects.push(Entry::new(sink, node.place, read));
        }
        read_each(&f, "models", &mut self.models, sink, model::read);
        read_each(&f, "rules", &mut self.rules, sink, rule::read);
        read_each(
            &f,
            "receivers",
            &mut self.receivers,
            sink,
            receiver::read_receiver,
        );
        read_each(
            &f,
            "pipelines",
            &mut self.pipelines,
            sink,
            receiver::read_pipeline,
        );
    }

    fn into_definitions(self, rules: Vec<Defined<Rule>>) -> Definitions {
        fn unchanged<T>(entries: Vec<Entry<T>>) -> Vec<Defined<T>> {
            let defined = entries
                .into_iter()
                .filter_map(|entry| entry.into_defined(|value| value));
            defined.collect()
        }
        Definitions {
            project: self
                .projects
                .into_iter()
                .filter_map(|entry| entry.into_defined(|draft| draft.project))
                .next_back(),
            models: unchanged(self.models),
            rules,
            receivers: unchanged(self.receivers),
            pipelines: unchanged(self.pipelines),
            runbooks: self
                .runbooks
                .into_iter()
                .filter_map(|entry| entry.into_defined(|draft| draft.runbook))
                .collect(),
        }
    }
}

type Named<T> = (Option<Located<String>>, Option<T>);

fn read_each<T>(
    f: &Fields,
    key: &str,
    entries: &mut Vec<Entry<T>>,
    sink: &mut Sink,
    read: impl Fn(&Node, &mut Sink) -> Named<T>,
) {
    let Some(node) = f.get(key) else { return };
    let Content::List(items) = &node.content else {
        sink.note(
            node.place,
            format!(
                "`{key}` is a list, each item beginning with `- `, but this is {}",
                node.kind()
            ),
        );
        return;
    };
    for item in items {
        let named = read(item, sink);
        entries.push(Entry::new(sink, item.place, named));
    }
}

#[cfg(test)]
mod schema_files;
#[cfg(test)]
mod tests;
