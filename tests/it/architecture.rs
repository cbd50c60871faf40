//! Keeps the modules in their order: who may use whom (docs/architecture.md), how long a file may grow, and
//! that modules and migrations open with what they are for.
//!
//! The source is read as tokens, with comments and literals taken out, rather than parsed: paths that begin
//! with `crate`, `self` or `super` are all it takes to tell which module uses which. The rules are ordinary
//! functions on text, tested below on text that breaks them.

use std::fmt;
use std::path::{Path, PathBuf};

/// Each top-level module and the ones it may use, in an order in which a module uses only earlier ones; so
/// there is no cycle. `main.rs` and `lib.rs` are outside the table.
const MAY_USE: &[(&str, &[&str])] = &[
    ("faults", &[]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("stats", &[]),
    ("domain", &["stats"]),
    ("formats", &["domain"]),
    ("storage", &["config", "telemetry", "stats", "domain"]),
    ("archive", &[]),
    ("outbound", &["domain"]),
    ("notify", &["config", "telemetry", "domain", "outbound"]),
    ("pipelines", &["config", "telemetry", "domain", "outbound"]),
    ("services", &BELOW_SERVICES),
    ("scheduler", &BELOW_SCHEDULER),
    ("http", &BELOW_EDGES),
    ("web", &BELOW_EDGES),
    ("cli", &BELOW_EDGES),
    ("app", &EVERYTHING),
];

/// What every module may use, wherever it stands: a crash can happen anywhere.
const OPEN_TO_ALL: &[&str] = &["faults"];

const BELOW_SERVICES: [&str; 10] = [
    "config",
    "telemetry",
    "stats",
    "domain",
    "formats",
    "storage",
    "archive",
    "outbound",
    "notify",
    "pipelines",
];
const BELOW_SCHEDULER: [&str; 11] = with_last(BELOW_SERVICES, "services");
const BELOW_EDGES: [&str; 11] = BELOW_SCHEDULER;
const EVERYTHING: [&str; 15] = [
    "config",
    "telemetry",
    "stats",
    "domain",
    "formats",
    "storage",
    "archive",
    "outbound",
    "notify",
    "pipelines",
    "services",
    "scheduler",
    "http",
    "web",
    "cli",
];

/// A file that is longer holds a second idea (lines inside `#[cfg(test)]` modules do not count).
const MOST_LINES: usize = 900;

const fn with_last<const N: usize, const M: usize>(
    first: [&'static str; N],
    last: &'static str,
) -> [&'static str; M] {
    let mut all = [last; M];
    let mut at = 0;
    while at < N {
        all[at] = first[at];
        at += 1;
    }
    all
}

/// A broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

// ── the rules ────────────────────────────────────────────────────────────────────────────────────────────

/// Complains about every path in `source` that leads from the file's module to one it may not use.
fn check_uses(file: &str, source: &str) -> Vec<Complaint> {
    let module = module_path(file);
    let Some(from) = module.first() else {
        return Vec::new();
    };
    let complaint = |line, text| Complaint {
        file: file.to_owned(),
        line,
        text,
    };
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == from) else {
        let text = format!(
            "module `{from}` is not in the table of tests/it/architecture.rs: say there what it may use"
        );
        return vec![complaint(1, text)];
    };
    uses_of_the_root(&tokens(source), module.len())
        .into_iter()
        .filter_map(|(line, to)| {
            if to == "*" {
                let text = "a glob of the crate's root hides which module is used: name it".to_owned();
                return Some(complaint(line, text));
            }
            let is_module = MAY_USE.iter().any(|(name, _)| *name == to);
            let may = allowed.iter().chain(OPEN_TO_ALL).any(|name| *name == to);
            if !is_module || to == *from || may {
                return None;
            }
            let allowed = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
            Some(complaint(
                line,
                format!(
                    "`{from}` may not use `{to}` (it may use {allowed}). Move the type down, or pass a value instead of a handle; what needs both belongs in `services`"
                ),
            ))
        })
        .collect()
}

/// Complains when the crate's root re-exports, because paths through it would escape the table.
fn check_root(file: &str, source: &str) -> Vec<Complaint> {
    let tokens = tokens(source);
    tokens
        .windows(2)
        .filter(|pair| pair[0].text == "pub" && pair[1].text == "use")
        .map(|pair| Complaint {
            file: file.to_owned(),
            line: pair[0].line,
            text: "the root re-exports nothing: name the module that holds it".to_owned(),
        })
        .collect()
}

/// Complains when a file is longer than [`MOST_LINES`] without its tests.
fn check_length(file: &str, source: &str) -> Vec<Complaint> {
    let lines = source.lines().count() - lines_of_tests(&tokens(source));
    if lines <= MOST_LINES || is_tests(file) {
        return Vec::new();
    }
    vec![Complaint {
        file: file.to_owned(),
        line: MOST_LINES,
        text: format!(
            "{lines} lines without tests, more than {MOST_LINES}: look for the second idea in it"
        ),
    }]
}

/// Complains when a module does not open with what it is for.
fn check_opening(file: &str, source: &str) -> Vec<Complaint> {
    if source.starts_with("//! ") || is_tests(file) {
        return Vec::new();
    }
    vec![Complaint {
        file: file.to_owned(),
        line: 1,
        text: "a module opens with `//!`: what it is for, and what it leaves to others".to_owned(),
    }]
}

/// Complains when a migration does not open with a comment.
fn check_migration(file: &str, source: &str) -> Vec<Complaint> {
    if source.starts_with("-- ") {
        return Vec::new();
    }
    vec![Complaint {
        file: file.to_owned(),
        line: 1,
        text: "a migration opens with a comment on why it exists".to_owned(),
    }]
}

// ── reading Rust ─────────────────────────────────────────────────────────────────────────────────────────

/// An identifier, `::`, or a single other character that is neither space, comment nor literal.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// The module a file holds: `src/domain/alert.rs` is `["domain", "alert"]`, the crate's roots are empty.
fn module_path(file: &str) -> Vec<&str> {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    let path = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut names: Vec<&str> = path.split('/').collect();
    if names.last() == Some(&"mod") || names == ["lib"] || names == ["main"] {
        names.pop();
    }
    names
}

/// Line and first name of every path that reaches the crate's root, in a file whose module is `depth` deep:
/// `crate::storage::alerts` and, from a module two deep, `super::super::storage::alerts` both give `storage`.
fn uses_of_the_root(tokens: &[Token], depth: usize) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    // For each open brace, whether it is that of an inline module.
    let mut braces = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].text.as_str() {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => {
                braces.pop();
            }
            "crate" | "self" | "super" if at == 0 || tokens[at - 1].text != "::" => {
                let inline = braces.iter().filter(|is_module| **is_module).count();
                if let Some(rest) = after_root(tokens, at, depth + inline) {
                    uses.extend(first_names(tokens, rest));
                }
            }
            _ => {}
        }
    }
    uses
}

/// Follows `crate`, `self` and `super` from `at`; the position of what comes after, if that is the root.
fn after_root(tokens: &[Token], mut at: usize, depth: usize) -> Option<usize> {
    let mut level = depth;
    loop {
        match tokens.get(at)?.text.as_str() {
            "crate" => level = 0,
            "self" => {}
            "super" => level = level.checked_sub(1)?,
            _ => return (level == 0).then_some(at),
        }
        if tokens.get(at + 1)?.text != "::" {
            return None;
        }
        at += 2;
    }
}

/// The name at `at`, or the first name of each member when there is a group.
fn first_names(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let name = |token: &Token| (token.line, token.text.clone());
    if tokens[at].text != "{" {
        return vec![name(&tokens[at])];
    }
    let mut names = Vec::new();
    let mut nesting = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" => nesting += 1,
            "}" => nesting -= 1,
            "," => continue,
            _ if nesting == 1 && matches!(tokens[at + offset - 1].text.as_str(), "{" | ",") => {
                names.push(name(token));
            }
            _ => {}
        }
        if nesting == 0 {
            break;
        }
    }
    names
}

/// How many lines `#[cfg(test)] mod … { … }` takes up.
fn lines_of_tests(tokens: &[Token]) -> usize {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let opening = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut lines = 0;
    for at in 0..texts.len() {
        if !texts[at..].starts_with(&opening) || texts.get(at + opening.len() + 1) != Some(&"{") {
            continue;
        }
        let mut nesting = 0;
        for token in &tokens[at + opening.len() + 1..] {
            match token.text.as_str() {
                "{" => nesting += 1,
                "}" => nesting -= 1,
                _ => {}
            }
            if nesting == 0 {
                lines += token.line - tokens[at].line + 1;
                break;
            }
        }
    }
    lines
}

/// Splits source into tokens and leaves out spaces, comments and literals.
fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = literal_or_comment(rest);
        let length = skipped.unwrap_or_else(|| token_length(rest, first));
        let (text, after) = rest.split_at(length);
        if skipped.is_none() && !first.is_whitespace() {
            found.push(Token {
                text: text.to_owned(),
                line,
            });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// The length of the token, or the space, that `text` begins with.
fn token_length(text: &str, first: char) -> usize {
    if is_name(first) {
        text.find(|c| !is_name(c)).unwrap_or(text.len())
    } else if text.starts_with("::") {
        2
    } else {
        first.len_utf8()
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment or literal that `text` begins with.
fn literal_or_comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"') || rest.starts_with("#\"") || rest.starts_with("##")
        })
    });
    match prefix {
        Some(prefix) if prefix.ends_with('r') => Some(raw_string(text, prefix.len())),
        Some(prefix) if text[prefix.len()..].starts_with('"') => {
            Some(quoted(text, prefix.len(), '"'))
        }
        _ if is_character(text) => Some(quoted(text, 0, '\'')),
        _ => None,
    }
}

/// Whether `text` begins with a character literal, and not with a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next() == Some('\'')
        && (characters.next() == Some('\\') || characters.next() == Some('\''))
}

fn block_comment(text: &str) -> usize {
    let mut nesting = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            nesting += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            nesting -= 1;
            at += 2;
            if nesting == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str, prefix: usize) -> usize {
    let hashes = text[prefix..].chars().take_while(|c| *c == '#').count();
    let inside = prefix + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    text.get(inside..)
        .and_then(|rest| rest.find(&end))
        .map_or(text.len(), |length| inside + length + end.len())
}

fn quoted(text: &str, prefix: usize, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(prefix + 1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

// ── the repository ───────────────────────────────────────────────────────────────────────────────────────

/// Name, relative to the repository, and text of every file under `folder` that ends in `extension`.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    assert!(!paths.is_empty(), "{folder} holds no .{extension} file");
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let name = path.strip_prefix(root).expect("a path under the root");
            (name.display().to_string(), text)
        })
        .collect()
}

fn assert_none(complaints: &[Complaint]) {
    let list: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

/// Whether the file is the tests of the module beside it, which has said what both are for.
fn is_tests(file: &str) -> bool {
    module_path(file).contains(&"tests")
}

fn is_root(file: &str) -> bool {
    module_path(file).is_empty()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut complaints = Vec::new();
    for (file, source) in files("src", "rs") {
        complaints.extend(check_uses(&file, &source));
        if file == "src/lib.rs" {
            complaints.extend(check_root(&file, &source));
        }
    }
    assert_none(&complaints);
}

#[test]
fn files_hold_one_idea() {
    let complaints: Vec<_> = files("src", "rs")
        .iter()
        .flat_map(|(file, source)| check_length(file, source))
        .collect();
    assert_none(&complaints);
}

#[test]
fn modules_open_with_what_they_are_for() {
    let complaints: Vec<_> = files("src", "rs")
        .iter()
        .filter(|(file, _)| file == "src/lib.rs" || !is_root(file))
        .flat_map(|(file, source)| check_opening(file, source))
        .collect();
    assert_none(&complaints);
}

#[test]
fn migrations_open_with_why_they_exist() {
    let complaints: Vec<_> = files("migrations", "sql")
        .iter()
        .flat_map(|(file, source)| check_migration(file, source))
        .collect();
    assert_none(&complaints);
}

// ── the checks can fail ──────────────────────────────────────────────────────────────────────────────────

mod checks {
    use super::*;

    /// The modules that `file` is told not to use when its text is `source`.
    fn refused(file: &str, source: &str) -> Vec<String> {
        check_uses(file, source)
            .iter()
            .map(|complaint| {
                let name = complaint.text.split('`').nth(3).unwrap_or(&complaint.text);
                format!("{}:{name}", complaint.line)
            })
            .collect()
    }

    #[test]
    fn table_lists_modules_after_those_they_use() {
        for (at, (module, allowed)) in MAY_USE.iter().enumerate() {
            for name in *allowed {
                let earlier = MAY_USE[..at].iter().any(|(other, _)| other == name);
                assert!(
                    earlier,
                    "`{module}` may use `{name}`, which must come before it"
                );
            }
        }
    }

    #[test]
    fn table_keeps_adapters_and_edges_apart() {
        for group in [
            &["storage", "notify", "pipelines"][..],
            &["http", "web", "cli"][..],
        ] {
            for from in group {
                for to in group.iter().filter(|to| *to != from) {
                    let source = format!("use crate::{to}::Thing;");
                    let file = format!("src/{from}/thing.rs");
                    assert_eq!(refused(&file, &source), [format!("1:{to}")]);
                }
            }
        }
    }

    #[test]
    fn forbidden_use_is_found_however_it_is_written() {
        let cases: [(&str, &str, &[&str]); 14] = [
            ("use", "use crate::storage::alerts;", &["1:storage"]),
            (
                "use of the module itself",
                "use crate::storage;",
                &["1:storage"],
            ),
            ("renamed use", "\nuse crate::storage as db;", &["2:storage"]),
            (
                "public use",
                "pub(crate) use crate::storage::Row;",
                &["1:storage"],
            ),
            (
                "group",
                "use crate::{stats::psi, storage::{alerts, models}, web};",
                &["1:storage", "1:web"],
            ),
            (
                "group over lines",
                "use crate::{\n    stats,\n    notify::Mail,\n};",
                &["3:notify"],
            ),
            (
                "group in a group",
                "use {crate::storage::Row, std::fmt};",
                &["1:storage"],
            ),
            (
                "path in an expression",
                "fn f() { crate::storage::load() }",
                &["1:storage"],
            ),
            (
                "path in a type",
                "struct S(Vec<crate::http::State>);",
                &["1:http"],
            ),
            (
                "path with spaces",
                "use crate :: /* why */ storage :: Row;",
                &["1:storage"],
            ),
            (
                "through super",
                "use super::super::storage::Row;",
                &["1:storage"],
            ),
            (
                "through self and super",
                "use self::super::super::storage::Row;",
                &["1:storage"],
            ),
            (
                "in a test module",
                "mod tests { use super::super::super::storage::Row; }",
                &["1:storage"],
            ),
            (
                "in a macro",
                "macro_rules! m { () => { $crate::storage::load() } }",
                &["1:storage"],
            ),
        ];
        for (name, source, expected) in cases {
            assert_eq!(refused("src/domain/alert.rs", source), expected, "{name}");
        }
    }

    #[test]
    fn allowed_and_merely_mentioned_modules_are_left_alone() {
        let cases = [
            ("below", "use crate::stats::psi;"),
            (
                "open to all",
                "fn f() { crate::faults::crash_point(\"a\"); }",
            ),
            ("itself", "use crate::domain::window::Window;"),
            ("sibling", "use super::storage::Kind;"),
            ("an item of the root", "use crate::MIGRATOR;"),
            ("comment", "// use crate::storage::Row;"),
            ("nested comment", "/* /* */ crate::storage::Row */"),
            ("doc comment", "/// See [`crate::storage::Row`].\nfn f() {}"),
            ("string", r#"const A: &str = "\"crate::storage::Row";"#),
            (
                "raw string",
                "const A: &str = r##\"\"# crate::storage::Row\"##;",
            ),
            ("byte string", r#"const A: &[u8] = b"crate::storage";"#),
            (
                "after a quote character",
                r#"const A: (char, char) = ('"', '\''); const B: &str = "crate::web";"#,
            ),
            (
                "after a lifetime",
                "fn f<'a>(a: &'a str) -> &'a str { a } // crate::web",
            ),
            ("another crate's path", "use other::storage::Row;"),
            ("visibility", "pub(crate) fn f() {} pub(super) fn g() {}"),
        ];
        for (name, source) in cases {
            assert_eq!(refused("src/domain/alert.rs", source), [""; 0], "{name}");
        }
    }

    #[test]
    fn complaint_says_where_and_what_may_be_used() {
        let found = check_uses(
            "src/stats/mod.rs",
            "//! Numbers.\nuse crate::domain::Window;",
        );
        let text = found[0].to_string();
        assert!(
            text.starts_with(
                "src/stats/mod.rs:2: `stats` may not use `domain` (it may use nothing of ours)"
            ),
            "{text}"
        );
    }

    #[test]
    fn module_outside_the_table_is_refused() {
        let found = check_uses("src/helpers.rs", "");
        assert!(
            found[0]
                .text
                .starts_with("module `helpers` is not in the table")
        );
    }

    #[test]
    fn glob_of_the_root_is_refused() {
        let found = check_uses("src/domain/mod.rs", "use crate::*;");
        assert!(found[0].text.starts_with("a glob of the crate's root"));
    }

    #[test]
    fn root_that_re_exports_is_refused() {
        assert_eq!(
            check_root("src/lib.rs", "//! Doc.\npub mod a;\npub use a::B;")[0].line,
            3
        );
        assert_eq!(check_root("src/lib.rs", "pub mod a;"), []);
    }

    #[test]
    fn long_file_is_refused_but_its_tests_do_not_count() {
        let code = "fn f() {}\n".repeat(MOST_LINES);
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "    fn t() {}\n".repeat(50)
        );
        assert_eq!(
            check_length("src/stats/ks.rs", &format!("{code}{tests}")),
            []
        );
        assert_eq!(
            check_length("src/stats/tests.rs", &format!("{code}fn g() {{}}")),
            []
        );
        let found = check_length("src/stats/ks.rs", &format!("{code}fn g() {{}}\n{tests}"));
        assert!(found[0].text.starts_with("901 lines without tests"));
    }

    #[test]
    fn missing_opening_comments_are_refused() {
        assert_eq!(check_opening("src/a.rs", "//! What it is for.\n"), []);
        assert_eq!(
            check_opening("src/a.rs", "use std::fmt;\n//! Late.").len(),
            1
        );
        assert_eq!(check_opening("src/a/tests.rs", "use super::*;"), []);
        assert_eq!(check_migration("migrations/2.sql", "-- Why.\n"), []);
        assert_eq!(
            check_migration("migrations/2.sql", "CREATE TABLE a ();").len(),
            1
        );
    }

    #[test]
    fn files_belong_to_the_module_of_their_path() {
        assert_eq!(module_path("src/lib.rs"), [""; 0]);
        assert_eq!(module_path("src/main.rs"), [""; 0]);
        assert_eq!(module_path("src/app.rs"), ["app"]);
        assert_eq!(module_path("src/stats/mod.rs"), ["stats"]);
        assert_eq!(module_path("src/domain/alert.rs"), ["domain", "alert"]);
    }
}
