use super::*;

use std::fs;
use std::path::Path;

use clap::CommandFactory;

use super::check::{Checked, check};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("bellwether-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn commands_are_read() {
    let read = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
    assert!(matches!(
        read("bellwether serve --listen 0.0.0.0:80"),
        Ok(Command::Serve(_))
    ));
    assert!(
        matches!(read("bellwether demo --once --json"), Ok(Command::Demo(o)) if o.once && o.json)
    );
    let import = read("bellwether import fares a.csv b.csv --kind labels --token t");
    let Ok(Command::Client(ClientCommand::Import(import))) = import else {
        panic!("{import:?}");
    };
    assert_eq!((import.files.len(), import.kind), (2, RowKind::Labels));
    assert_eq!(import.server.server.as_str(), "http://127.0.0.1:8420/");
    let token = read("bellwether token create sender --scopes ingest,read");
    let Ok(Command::Client(ClientCommand::Token(TokenCommand::Create { scopes, .. }))) = token
    else {
        panic!("{token:?}");
    };
    assert_eq!(scopes, ["ingest", "read"]);
    for wrong in [
        "bellwether import fares a.csv",
        "bellwether import fares --kind labels",
        "bellwether model add fares --task guess",
        "bellwether run start fares retrain",
        "bellwether check a b",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_directory_is_read_without_what_is_hidden_or_no_configuration() {
    let folder = Folder::with(
        "directory",
        &[
            ("models.yaml", "models: []"),
            ("runbooks/a.md", "# a"),
            ("rules/b.yml", ""),
            ("data/rows.csv", "id"),
            (".git/config.yaml", "hidden"),
        ],
    );
    let paths: Vec<String> = directory::read(&folder.0)
        .expect("read")
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths, ["models.yaml", "rules/b.yml", "runbooks/a.md"]);
    let told = directory::read(Path::new("/nowhere/at/all"))
        .expect_err("none")
        .to_string();
    assert!(told.contains("not a directory"), "{told}");
}

#[test]
fn a_check_counts_objects_or_names_places() {
    let model = "models:\n  - name: fares\n    task: regression\n    baselines:\n      training: {file: rows.csv}\n";
    let good = Folder::with("good", &[("a.yaml", model), ("rows.csv", "id")]);
    let checked = check(&good.0).expect("read");
    assert!(
        matches!(checked, Checked::Good { objects: 1, .. }),
        "{checked:?}"
    );

    let missing = Folder::with("missing", &[("a.yaml", model)]);
    let Ok(Checked::Bad(problems)) = check(&missing.0) else {
        panic!("the file is not there");
    };
    assert!(
        problems[0].to_string().starts_with("a.yaml:2:1: "),
        "{}",
        problems[0]
    );
    assert!(problems[0].cause.contains("rows.csv"), "{}", problems[0]);

    let bad = Folder::with(
        "bad",
        &[("a.yaml", "models:\n  - {name: fares, task: guess}\n")],
    );
    let Ok(Checked::Bad(problems)) = check(&bad.0) else {
        panic!("there is no such task");
    };
    assert_eq!((problems[0].file.as_str(), problems[0].line), ("a.yaml", 2));
}
