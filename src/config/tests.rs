use super::*;

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(
        Some((Path::new("conf/bellwether.toml"), text)),
        &Environment::default(),
    )
}

fn problems(text: &str) -> Vec<String> {
    let error = from_file(text).expect_err("the text is wrong");
    error.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_configured_gives_the_documented_defaults() {
    let config = Config::from_text(None, &Environment::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(
        config.server.trusted_hosts,
        ["127.0.0.1", "[::1]", "localhost"]
    );
    assert_eq!(config.storage.data_dir, Path::new("./bellwether-data"));
    assert!(config.storage.database_url.is_none());
    assert!(config.mail.is_none());
    assert!(config.outbound.allow_private.is_empty());
    assert!(config.telemetry.otlp_endpoint.is_none());
    assert_eq!(config.telemetry.log_format, LogFormat::Text);
    assert_eq!(config.telemetry.log_filter, "info");
    assert_eq!(config.intake.max_body_bytes, 16 * 1024 * 1024);
    assert_eq!(config.intake.max_rows, 100_000);
}

#[test]
fn the_shipped_example_is_valid_with_every_line_in_force() {
    let shipped = include_str!("../../docs/bellwether.example.toml");
    let path = Path::new("docs/bellwether.example.toml");
    let as_shipped = Config::from_text(Some((path, shipped)), &Environment::default()).unwrap();
    assert!(as_shipped.mail.is_none());

    // A setting is a comment of the form `#key = value` without a space, so that every one of them can be tried.
    let folder = std::env::temp_dir().join(format!("bellwether-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("smtp-password"), "secret\n").unwrap();
    let in_force: String = shipped
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let file = folder.join("bellwether.toml");
    let config = Config::from_text(Some((&file, &in_force)), &Environment::default());
    std::fs::remove_dir_all(&folder).unwrap();
    let config = config.unwrap();
    let Some(MailTransport::Smtp(smtp)) = config.mail.map(|mail| mail.transport) else {
        panic!("the example shows SMTP");
    };
    assert_eq!(smtp.credentials.unwrap().password.expose(), "secret");
    assert_eq!(
        config.server.public_url.unwrap().as_str(),
        "https://bellwether.example.org/"
    );
    assert_eq!(config.storage.run_as.as_deref(), Some("postgres"));
}

#[test]
fn all_problems_are_listed_with_line_key_and_cause() {
    let found = problems(
        "[server]\nlisten = \"nowhere\"\nlisen = \"127.0.0.1:1\"\n\n[intake]\nmax_rows = 0\nmax_body_bytes = true\n\n[nonsense]\na = 1\n",
    );
    assert_eq!(
        found,
        [
            "conf/bellwether.toml:2: server.listen: \"nowhere\" is not an address and a port such as 127.0.0.1:8420",
            "conf/bellwether.toml:7: intake.max_body_bytes: must be a whole number from 1024 to 1073741824, not true or false",
            "conf/bellwether.toml:6: intake.max_rows: 0 is not a whole number from 1 to 10000000",
            "conf/bellwether.toml:10: nonsense.a: unknown key; there is no such section",
            "conf/bellwether.toml:3: server.lisen: unknown key; [server] has listen, public_url, trusted_hosts, max_connections",
        ]
    );
}

#[test]
fn a_syntax_error_names_its_line() {
    let found = problems("[server]\nlisten = \n");
    assert!(
        found[0].starts_with("conf/bellwether.toml:2: "),
        "{found:?}"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = Environment::default()
        .with("BELLWETHER_SERVER_LISTEN", "0.0.0.0:80")
        .with(
            "BELLWETHER_OUTBOUND_ALLOW_PRIVATE",
            "127.0.0.1:9000, [::1]:9001",
        )
        .with("BELLWETHER_STORAGE_DATA_DIR", "");
    let text = "[server]\nlisten = \"127.0.0.1:1\"\n[storage]\ndata_dir = \"data\"\n";
    let config = Config::from_text(Some((Path::new("conf/b.toml"), text)), &environment).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!(
        config.storage.data_dir,
        Path::new("conf/data"),
        "an empty variable counts as not set"
    );
    let allowed = config.outbound.allow_private;
    assert_eq!((allowed[1].host.as_str(), allowed[1].port), ("::1", 9001));
}

#[test]
fn variables_that_look_like_settings_are_reported_and_others_left_alone() {
    let environment = Environment::default()
        .with("BELLWETHER_SERVER_LISEN", "x")
        .with("BELLWETHER_SERVICE_HOST", "injected by a platform")
        .with("BELLWETHER_TOKEN", "for the command line");
    let config = Config::from_text(None, &environment).unwrap();
    assert_eq!(config.unknown_variables, ["BELLWETHER_SERVER_LISEN"]);
}

#[test]
fn a_wrong_variable_is_named() {
    let environment = Environment::default().with("BELLWETHER_TELEMETRY_LOG_FORMAT", "xml");
    let error = Config::from_text(None, &environment).unwrap_err();
    assert_eq!(
        error.problems[0].to_string(),
        "environment variable BELLWETHER_TELEMETRY_LOG_FORMAT: telemetry.log_format: \"xml\" is not one of text, json"
    );
}

#[test]
fn a_database_url_is_not_printed_even_when_it_is_wrong() {
    let environment = Environment::default().with("DATABASE_URL", "mysql://me:hunter2@host/db");
    let error = Config::from_text(None, &environment)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("DATABASE_URL") && !error.contains("hunter2"),
        "{error}"
    );

    let environment = Environment::default().with("DATABASE_URL", "postgres://me:hunter2@host/db");
    let config = Config::from_text(None, &environment).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_secret_can_be_read_from_a_file_but_not_given_twice() {
    let folder = std::env::temp_dir().join(format!("bellwether-secret-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("url"), "postgres://file\n").unwrap();
    let file = folder.join("bellwether.toml");

    let text = "[storage]\ndatabase_url_file = \"url\"\n";
    let config = Config::from_text(Some((&file, text)), &Environment::default()).unwrap();
    assert_eq!(
        config.storage.database_url.unwrap().expose(),
        "postgres://file"
    );

    let over_it = Environment::default().with("DATABASE_URL", "postgres://environment");
    let config = Config::from_text(Some((&file, text)), &over_it).unwrap();
    assert_eq!(
        config.storage.database_url.unwrap().expose(),
        "postgres://environment"
    );

    let twice = "[storage]\ndatabase_url = \"postgres://file\"\ndatabase_url_file = \"url\"\n";
    let error = Config::from_text(Some((&file, twice)), &Environment::default()).unwrap_err();
    assert!(error.to_string().contains("not both"), "{error}");

    let missing = "[storage]\ndatabase_url_file = \"elsewhere\"\n";
    let error = Config::from_text(Some((&file, missing)), &Environment::default()).unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn mail_needs_a_sender_and_exactly_one_way_out() {
    let cases = [
        ("[mail]\nfrom = \"a@b.org\"\n", "has no way out"),
        (
            "[mail]\ndirectory = \"mails\"\n",
            "mail.from: is needed to send mail",
        ),
        (
            "[mail]\nfrom = \"a@b.org\"\ndirectory = \"mails\"\n[mail.smtp]\nhost = \"h\"\n",
            "not both",
        ),
        (
            "[mail]\nfrom = \"nobody\"\ndirectory = \"mails\"\n",
            "is not a sender",
        ),
        ("[mail.smtp]\nport = 25\n", "mail.smtp.host: is needed"),
        (
            "[mail]\nfrom = \"a@b.org\"\nsmtp = { host = \"h\", username = \"u\" }\n",
            "mail.smtp.password: is needed",
        ),
        (
            "[mail]\nfrom = \"a@b.org\"\nsmtp = { host = \"h\", security = \"none\", username = \"u\", password = \"p\" }\n",
            "clear text",
        ),
    ];
    for (text, expected) in cases {
        let found = problems(text).join("\n");
        assert!(found.contains(expected), "{text:?} gave {found}");
    }
}

#[test]
fn the_smtp_port_follows_from_the_security() {
    for (security, port) in [("starttls", 587), ("tls", 465), ("none", 25)] {
        let text = format!(
            "[mail]\nfrom = \"a@b.org\"\nsmtp = {{ host = \"h\", security = \"{security}\" }}\n"
        );
        let Some(MailTransport::Smtp(smtp)) =
            from_file(&text).unwrap().mail.map(|mail| mail.transport)
        else {
            panic!("SMTP was configured");
        };
        assert_eq!(smtp.port, port);
    }
}

#[test]
fn foreign_host_names_are_not_trusted() {
    let config = from_file("[server]\npublic_url = \"https://Watch.example.org\"\n").unwrap();
    for trusted in [
        "localhost:8420",
        "127.0.0.1",
        "[::1]:8420",
        "watch.example.org",
        "WATCH.example.org:443",
    ] {
        assert!(config.server.trusts_host(trusted), "{trusted}");
    }
    for foreign in [
        "evil.example.org",
        "localhost.evil.org",
        "",
        "127.0.0.1.evil.org:8420",
    ] {
        assert!(!config.server.trusts_host(foreign), "{foreign}");
    }
}

#[test]
fn configured_hosts_replace_the_derived_ones_but_keep_the_public_address() {
    let config = from_file(
        "[server]\nlisten = \"0.0.0.0:80\"\npublic_url = \"https://a.org\"\ntrusted_hosts = [\"b.org:8080\"]\n",
    );
    assert_eq!(config.unwrap().server.trusted_hosts, ["a.org", "b.org"]);
    let found = problems("[server]\ntrusted_hosts = [\"https://a.org/\", \"*\"]\n");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn links_use_the_public_address_or_the_bound_one() {
    let bound: SocketAddr = "0.0.0.0:4321".parse().unwrap();
    let config = Config::from_text(None, &Environment::default()).unwrap();
    assert_eq!(
        config.server.base_url(bound).as_str(),
        "http://localhost:4321/"
    );
    let config = from_file("[server]\npublic_url = \"https://a.org\"\n").unwrap();
    assert_eq!(config.server.base_url(bound).as_str(), "https://a.org/");
    assert!(problems("[server]\npublic_url = \"https://a.org/under\"\n")[0].contains("path"));
}

#[test]
fn private_targets_need_a_host_and_a_port() {
    for wrong in [
        "127.0.0.1",
        "::1:80",
        "host:0",
        "*:80",
        "http://host:80",
        "[::1:80",
    ] {
        let found = problems(&format!("[outbound]\nallow_private = [\"{wrong}\"]\n"));
        assert!(
            found[0].contains("is not a host and a port"),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn the_largest_body_must_find_room() {
    let found = problems("[intake]\nmemory_budget = 16777216\n");
    assert!(
        found[0].contains("does not hold the largest body"),
        "{found:?}"
    );
    let config = from_file(
        "[intake]\nmemory_budget = 16777216\nmax_body_bytes = 8388608\nmax_inflated_bytes = 8388608\n",
    );
    assert_eq!(
        config.expect("they go together").intake.memory_budget,
        16 << 20
    );
}

#[test]
fn a_named_file_must_exist() {
    let error = Config::load(
        Some(Path::new("/nonexistent/bellwether.toml")),
        &Environment::default(),
    );
    assert!(error.unwrap_err().to_string().contains("cannot be read"));
}
