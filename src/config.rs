//! The service's own settings: `bellwether.toml` and the environment, typed, with defaults, validated together before
//! anything starts. A module is handed its section and never the whole.
//!
//! What is watched (models, rules, runbooks) is not here: that is declared in files of its own and applied to the database.
//! This module knows nothing of the others; it says what was configured, they decide what it means.

mod keeping;
mod secret;
mod source;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lettre::message::Mailbox;
use tracing_subscriber::EnvFilter;
use url::Url;

pub use keeping::{ArchiveConfig, BucketConfig, RetentionConfig};
pub use secret::Secret;
pub use source::{Environment, Origin, Problem};
use source::{Given, Source};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "bellwether.toml";

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8420);
const DEFAULT_DATA_DIR: &str = "./bellwether-data";
const DEFAULT_LOG_FILTER: &str = "info";
const DEFAULT_MAX_CONNECTIONS: u64 = 1_024;
const MAX_CONNECTIONS_RANGE: (u64, u64) = (16, 65_536);
const DEFAULT_DATABASE_CONNECTIONS: u64 = 24;
const DATABASE_CONNECTIONS_RANGE: (u64, u64) = (15, 1_000);
const DEFAULT_MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;
const MAX_BODY_BYTES_RANGE: (u64, u64) = (1024, 1024 * 1024 * 1024);
const DEFAULT_MAX_INFLATED_BYTES: u64 = 64 * 1024 * 1024;
const DEFAULT_MAX_INFLATION_RATIO: u64 = 200;
const MAX_INFLATION_RATIO_RANGE: (u64, u64) = (2, 100_000);
const DEFAULT_BODY_SECONDS: u64 = 30;
const BODY_SECONDS_RANGE: (u64, u64) = (1, 3_600);
const DEFAULT_MEMORY_BUDGET: u64 = 96 * 1024 * 1024;
const MEMORY_BUDGET_RANGE: (u64, u64) = (1024 * 1024, 1024 * 1024 * 1024 * 1024);
const DEFAULT_DATABASE_WAIT_MS: u64 = 200;
const DATABASE_WAIT_MS_RANGE: (u64, u64) = (20, 60_000);
const DEFAULT_MAX_ROWS: u64 = 100_000;
const DEFAULT_ORPHAN_LABEL_DAYS: u64 = 30;
const DEFAULT_UNPAIRED_EVENT_MINUTES: u64 = 60;
const UNPAIRED_EVENT_MINUTES_RANGE: (u64, u64) = (1, 7 * 24 * 60);
const ORPHAN_LABEL_DAYS_RANGE: (u64, u64) = (1, 3_650);
const DEFAULT_MAX_FEATURES: u64 = 2_000;
const MAX_FEATURES_RANGE: (u64, u64) = (1, 20_000);
const DEFAULT_MAX_SEGMENT_VALUES: u64 = 200;
const MAX_SEGMENT_VALUES_RANGE: (u64, u64) = (1, 10_000);
const DEFAULT_ANNOTATE_AFTER_HOURS: u64 = 24;
const ANNOTATE_AFTER_HOURS_RANGE: (u64, u64) = (1, 8_784);
const MAX_ROWS_RANGE: (u64, u64) = (1, 10_000_000);
/// Some minutes of settling, and two to four gigabytes on disk.
const DEFAULT_MAX_UNSETTLED_ROWS: u64 = 20_000_000;
const MAX_UNSETTLED_ROWS_RANGE: (u64, u64) = (1, 10_000_000_000);

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address people and senders reach.
    pub server: ServerConfig,
    /// Where data is kept.
    pub storage: StorageConfig,
    /// How mail leaves; `None` when no mail is to be sent.
    pub mail: Option<MailConfig>,
    /// What the outbound HTTP client may reach.
    pub outbound: OutboundConfig,
    /// The service's own logs, traces and metrics.
    pub telemetry: TelemetryConfig,
    /// Limits on what is taken in.
    pub intake: IntakeConfig,
    /// When people are told of alerts.
    pub alerting: AlertingConfig,
    /// How long what is kept, unless projects say otherwise.
    pub retention: RetentionConfig,
    /// Where raw rows go before they are dropped; `None` when they are not archived.
    pub archive: Option<ArchiveConfig>,
    /// Environment variables that begin like a setting but are none: worth a warning once logging runs.
    pub unknown_variables: Vec<String>,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address to listen on. Loopback unless told otherwise.
    pub listen: SocketAddr,
    /// The address people use, when it is not the one listened on (behind a proxy, in a container).
    pub public_url: Option<Url>,
    /// Host names that requests may carry, without ports and in lower case.
    pub trusted_hosts: Vec<String>,
    /// The most connections of clients, and the most open requests.
    pub max_connections: u64,
}

/// `[storage]`
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// The folder of the private Postgres and of everything else the service keeps on disk.
    pub data_dir: PathBuf,
    /// The server to use instead of the private Postgres.
    pub database_url: Option<Secret>,
    /// The unprivileged user that the private Postgres runs as when the service is started as root.
    pub run_as: Option<String>,
    /// The folder with `postgres` and `initdb`, when they are not found by themselves.
    pub postgres_bin_dir: Option<PathBuf>,
    /// The most connections to Postgres, over all that they are for.
    pub connections: u64,
}

/// `[mail]`
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// The sender.
    pub from: Mailbox,
    /// The way out.
    pub transport: MailTransport,
}

/// The way mail leaves.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// To an SMTP server.
    Smtp(SmtpConfig),
    /// Written as `.eml` files into a folder, for trying things out.
    Directory(PathBuf),
}

/// `[mail.smtp]`
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// The server's name.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// The login, when the server asks for one.
    pub credentials: Option<SmtpCredentials>,
}

/// The login for an SMTP server.
#[derive(Debug, Clone)]
pub struct SmtpCredentials {
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Begins in clear text and must switch to TLS before anything else.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// No protection.
    None,
}

/// `[outbound]`
#[derive(Debug, Clone, Default)]
pub struct OutboundConfig {
    /// Targets at internal addresses that the guard lets through.
    pub allow_private: Vec<PrivateTarget>,
}

/// One host and port that the outbound guard lets through although it is internal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateTarget {
    /// A host name or an address without brackets, in lower case.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// The base address of an OTLP collector (HTTP, protobuf); traces and metrics are sent there when it is set.
    pub otlp_endpoint: Option<Url>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[intake]`
#[derive(Debug, Clone, Copy)]
pub struct IntakeConfig {
    /// The largest request body, as sent.
    pub max_body_bytes: u64,
    /// The largest request body, once unpacked.
    pub max_inflated_bytes: u64,
    /// How many times as large as what was sent a body may become that unpacks to more than 1 MiB.
    pub max_inflation_ratio: u64,
    /// How long a body may take to arrive.
    pub body_seconds: u64,
    /// What all bodies of open requests together may take of the memory; what is made of them comes on top.
    pub memory_budget: u64,
    /// How long a sender waits for the database before it is sent away.
    pub database_wait_ms: u64,
    /// The most rows taken in by one request.
    pub max_rows: u64,
    /// The most rows that may wait to be settled.
    pub max_unsettled_rows: u64,
    /// The most features of a model.
    pub max_features: u64,
    /// The most values of one segment in one base window.
    pub max_segment_values: u64,
    /// How long a label waits for its prediction.
    pub orphan_label_days: u64,
    /// How long a request or response of an inference waits for the other one.
    pub unpaired_event_minutes: u64,
}

/// `[alerting]`
#[derive(Debug, Clone, Copy)]
pub struct AlertingConfig {
    /// How long ago a window may have ended for people to be told of an alert about it.
    pub annotate_after_hours: u64,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_inflated_bytes: DEFAULT_MAX_INFLATED_BYTES,
            max_inflation_ratio: DEFAULT_MAX_INFLATION_RATIO,
            body_seconds: DEFAULT_BODY_SECONDS,
            memory_budget: DEFAULT_MEMORY_BUDGET,
            database_wait_ms: DEFAULT_DATABASE_WAIT_MS,
            max_rows: DEFAULT_MAX_ROWS,
            max_unsettled_rows: DEFAULT_MAX_UNSETTLED_ROWS,
            max_features: DEFAULT_MAX_FEATURES,
            max_segment_values: DEFAULT_MAX_SEGMENT_VALUES,
            orphan_label_days: DEFAULT_ORPHAN_LABEL_DAYS,
            unpaired_event_minutes: DEFAULT_UNPAIRED_EVENT_MINUTES,
        }
    }
}

/// The configuration cannot be used; lists everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// All that is wrong, in the order of the sections.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the configuration cannot be used:")?;
        for problem in &self.problems {
            write!(formatter, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the named file, or the one in `BELLWETHER_CONFIG`, or `bellwether.toml` in the working directory if there is one.
    ///
    /// # Errors
    /// When a named file cannot be read, or anything in it or in the environment is wrong.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let named = file.or_else(|| environment.get("BELLWETHER_CONFIG").map(Path::new));
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(Some((path, &text)), environment),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Self::from_text(None, environment)
            }
            Err(error) => Err(ConfigError {
                problems: vec![Problem {
                    origin: Origin::File {
                        path: path.to_path_buf(),
                        line: 0,
                    },
                    key: String::new(),
                    cause: format!("cannot be read: {error}"),
                }],
            }),
        }
    }

    /// The configuration in `text`, which was read from the file at `path`; relative paths in it start from that file's folder.
    ///
    /// # Errors
    /// When anything in it or in the environment is wrong.
    pub fn from_text(
        file: Option<(&Path, &str)>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let mut source = Source::new(file, environment);
        let server = server(&mut source);
        let storage = storage(&mut source);
        let mail = mail(&mut source);
        let outbound = outbound(&mut source);
        let telemetry = telemetry(&mut source);
        let intake = intake(&mut source);
        let alerting = alerting(&mut source);
        let retention = keeping::retention(&mut source);
        let archive = keeping::archive(&mut source);
        let (problems, unknown_variables) = source.finish();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        Ok(Self {
            server,
            storage,
            mail,
            outbound,
            telemetry,
            intake,
            alerting,
            retention,
            archive,
            unknown_variables,
        })
    }
}

impl ServerConfig {
    /// The address to put into links: the public one if configured, else the one really listened on.
    #[must_use]
    pub fn base_url(&self, bound: SocketAddr) -> Url {
        self.public_url.clone().unwrap_or_else(|| {
            let host = if bound.ip().is_unspecified() {
                format!("localhost:{}", bound.port())
            } else {
                bound.to_string()
            };
            Url::parse(&format!("http://{host}/")).expect("an address and a port make a valid URL")
        })
    }

    /// Whether a request with this `Host` header is meant for this service. Pages of other sites that point their own name at
    /// this address carry their own name, and are refused. The port does not matter for that.
    #[must_use]
    pub fn trusts_host(&self, header: &str) -> bool {
        let host = host_without_port(header).to_lowercase();
        self.trusted_hosts.contains(&host)
    }
}

fn server(source: &mut Source<'_>) -> ServerConfig {
    let expected = "an address and a port such as 127.0.0.1:8420";
    let listen = source
        .parsed("server.listen", expected)
        .map_or(DEFAULT_LISTEN, |given: Given<SocketAddr>| given.value);
    let public_url = http_url(source, "server.public_url").and_then(|given| {
        if given.value.path() != "/" {
            let cause = "must not have a path: the pages are served from the root";
            source.problem(given.origin, "server.public_url", cause);
            return None;
        }
        Some(given.value)
    });
    let trusted_hosts = trusted_hosts(source, listen, public_url.as_ref());
    ServerConfig {
        listen,
        public_url,
        trusted_hosts,
        max_connections: number(
            source,
            "server.max_connections",
            DEFAULT_MAX_CONNECTIONS,
            MAX_CONNECTIONS_RANGE,
        ),
    }
}

/// The configured host names, or loopback and the listening address; the public address is trusted in either case.
fn trusted_hosts(
    source: &mut Source<'_>,
    listen: SocketAddr,
    public_url: Option<&Url>,
) -> Vec<String> {
    let mut hosts = match source.list("server.trusted_hosts") {
        Some(given) => checked_hosts(source, given),
        None => {
            let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"]
                .map(str::to_owned)
                .into();
            if !listen.ip().is_unspecified() {
                hosts.push(host_without_port(&listen.to_string()).to_owned());
            }
            hosts
        }
    };
    hosts.extend(public_url.and_then(Url::host_str).map(str::to_lowercase));
    hosts.sort();
    hosts.dedup();
    hosts
}

fn checked_hosts(source: &mut Source<'_>, given: Given<Vec<String>>) -> Vec<String> {
    let mut hosts = Vec::with_capacity(given.value.len());
    for host in given.value {
        let bare = host_without_port(&host).to_lowercase();
        if bare.is_empty()
            || host.contains('/')
            || host.contains('*')
            || host.contains(char::is_whitespace)
        {
            let cause = format!("{host:?} is not a host name such as bellwether.example.org");
            source.problem(given.origin.clone(), "server.trusted_hosts", cause);
            continue;
        }
        hosts.push(bare);
    }
    hosts
}

fn host_without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !open_bracket(host) =>
        {
            host
        }
        _ => text,
    }
}

/// Whether the text ends inside the brackets of an IPv6 address, so that its last colon does not part a port.
fn open_bracket(host: &str) -> bool {
    host.contains('[') && !host.contains(']')
}

fn storage(source: &mut Source<'_>) -> StorageConfig {
    let data_dir = source.path("storage.data_dir");
    let database_url = source.secret("storage.database_url", "storage.database_url_file");
    let database_url = database_url.and_then(|given| {
        let text = given.value.expose();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Some(given.value);
        }
        let cause =
            "must begin with postgres:// (the value is not shown, because it may hold a password)";
        source.problem(given.origin, "storage.database_url", cause);
        None
    });
    StorageConfig {
        data_dir: data_dir.map_or(PathBuf::from(DEFAULT_DATA_DIR), |given| given.value),
        database_url,
        run_as: source.text("storage.run_as").map(|given| given.value),
        postgres_bin_dir: source
            .path("storage.postgres_bin_dir")
            .map(|given| given.value),
        connections: number(
            source,
            "storage.connections",
            DEFAULT_DATABASE_CONNECTIONS,
            DATABASE_CONNECTIONS_RANGE,
        ),
    }
}

fn mail(source: &mut Source<'_>) -> Option<MailConfig> {
    let from = source.parsed::<Mailbox>(
        "mail.from",
        "a sender such as Bellwether <bellwether@example.org>",
    );
    let directory = source.path("mail.directory");
    let smtp = smtp(source);
    let transport = match (smtp, directory) {
        (Some(_), Some(directory)) => {
            source.problem(
                directory.origin,
                "mail.directory",
                "give either this or mail.smtp, not both",
            );
            return None;
        }
        (Some(smtp), None) => MailTransport::Smtp(smtp),
        (None, Some(directory)) => MailTransport::Directory(directory.value),
        (None, None) => {
            if let Some(from) = from {
                let cause = "has no way out: give mail.smtp.host or mail.directory as well";
                source.problem(from.origin, "mail.from", cause);
            }
            return None;
        }
    };
    let Some(from) = from else {
        source.problem(Origin::Missing, "mail.from", "is needed to send mail");
        return None;
    };
    Some(MailConfig {
        from: from.value,
        transport,
    })
}

fn smtp(source: &mut Source<'_>) -> Option<SmtpConfig> {
    let host = source.text("mail.smtp.host");
    let expected = "one of starttls, tls, none";
    let security = source.parsed::<SmtpSecurity>("mail.smtp.security", expected);
    let port = source.parsed::<u16>("mail.smtp.port", "a port from 1 to 65535");
    let username = source.text("mail.smtp.username");
    let password = source.secret("mail.smtp.password", "mail.smtp.password_file");
    let Some(host) = host else {
        let others = [
            security.map(|given| given.origin),
            port.map(|given| given.origin),
            username.map(|given| given.origin),
            password.map(|given| given.origin),
        ];
        if let Some(origin) = others.into_iter().flatten().next() {
            source.problem(
                origin,
                "mail.smtp.host",
                "is needed beside the other keys of mail.smtp",
            );
        }
        return None;
    };
    let security = security.map_or(SmtpSecurity::StartTls, |given| given.value);
    let credentials = smtp_credentials(source, username, password);
    if security == SmtpSecurity::None && credentials.is_some() && !is_loopback(&host.value) {
        let cause = "none would send the password in clear text: use starttls or tls";
        source.problem(host.origin, "mail.smtp.security", cause);
    }
    Some(SmtpConfig {
        host: host.value,
        port: port.map_or(security.default_port(), |given| given.value),
        security,
        credentials,
    })
}

fn smtp_credentials(
    source: &mut Source<'_>,
    username: Option<Given<String>>,
    password: Option<Given<Secret>>,
) -> Option<SmtpCredentials> {
    match (username, password) {
        (Some(username), Some(password)) => Some(SmtpCredentials {
            username: username.value,
            password: password.value,
        }),
        (Some(username), None) => {
            source.problem(
                username.origin,
                "mail.smtp.password",
                "is needed beside mail.smtp.username",
            );
            None
        }
        (None, Some(password)) => {
            source.problem(
                password.origin,
                "mail.smtp.username",
                "is needed beside mail.smtp.password",
            );
            None
        }
        (None, None) => None,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl SmtpSecurity {
    fn default_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

impl FromStr for SmtpSecurity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "starttls" => Ok(Self::StartTls),
            "tls" => Ok(Self::Tls),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
}

fn outbound(source: &mut Source<'_>) -> OutboundConfig {
    let mut allow_private = Vec::new();
    if let Some(given) = source.list("outbound.allow_private") {
        for text in given.value {
            match text.parse() {
                Ok(target) => allow_private.push(target),
                Err(()) => {
                    let cause = format!("{text:?} is not a host and a port such as 127.0.0.1:9000");
                    source.problem(given.origin.clone(), "outbound.allow_private", cause);
                }
            }
        }
    }
    OutboundConfig { allow_private }
}

impl FromStr for PrivateTarget {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(())?,
            None if host.contains(':') => return Err(()),
            None => host,
        };
        if host.is_empty() || host.contains(['/', '*', '@']) || host.contains(char::is_whitespace) {
            return Err(());
        }
        Ok(Self {
            host: host.to_lowercase(),
            port: port.parse().ok().filter(|port| *port > 0).ok_or(())?,
        })
    }
}

fn telemetry(source: &mut Source<'_>) -> TelemetryConfig {
    let otlp_endpoint = http_url(source, "telemetry.otlp_endpoint").map(|given| given.value);
    let log_format = source.parsed("telemetry.log_format", "one of text, json");
    let log_filter = source.text("telemetry.log_filter").and_then(|given| {
        if let Err(error) = EnvFilter::try_new(&given.value) {
            let cause = format!(
                "{:?} is not a log filter such as info,bellwether=debug: {error}",
                given.value
            );
            source.problem(given.origin, "telemetry.log_filter", cause);
            return None;
        }
        Some(given.value)
    });
    TelemetryConfig {
        otlp_endpoint,
        log_format: log_format.map_or(LogFormat::Text, |given| given.value),
        log_filter: log_filter.unwrap_or_else(|| DEFAULT_LOG_FILTER.to_owned()),
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

fn intake(source: &mut Source<'_>) -> IntakeConfig {
    let default = IntakeConfig::default();
    let mut of = |key, default, range| number(source, key, default, range);
    let config = IntakeConfig {
        max_body_bytes: of(
            "intake.max_body_bytes",
            default.max_body_bytes,
            MAX_BODY_BYTES_RANGE,
        ),
        max_inflated_bytes: of(
            "intake.max_inflated_bytes",
            default.max_inflated_bytes,
            MAX_BODY_BYTES_RANGE,
        ),
        max_inflation_ratio: of(
            "intake.max_inflation_ratio",
            default.max_inflation_ratio,
            MAX_INFLATION_RATIO_RANGE,
        ),
        body_seconds: of(
            "intake.body_seconds",
            default.body_seconds,
            BODY_SECONDS_RANGE,
        ),
        memory_budget: of(
            "intake.memory_budget",
            default.memory_budget,
            MEMORY_BUDGET_RANGE,
        ),
        database_wait_ms: of(
            "intake.database_wait_ms",
            default.database_wait_ms,
            DATABASE_WAIT_MS_RANGE,
        ),
        max_rows: of("intake.max_rows", default.max_rows, MAX_ROWS_RANGE),
        max_unsettled_rows: of(
            "intake.max_unsettled_rows",
            default.max_unsettled_rows,
            MAX_UNSETTLED_ROWS_RANGE,
        ),
        max_features: of(
            "intake.max_features",
            default.max_features,
            MAX_FEATURES_RANGE,
        ),
        max_segment_values: of(
            "intake.max_segment_values",
            default.max_segment_values,
            MAX_SEGMENT_VALUES_RANGE,
        ),
        orphan_label_days: of(
            "intake.orphan_label_days",
            default.orphan_label_days,
            ORPHAN_LABEL_DAYS_RANGE,
        ),
        unpaired_event_minutes: of(
            "intake.unpaired_event_minutes",
            default.unpaired_event_minutes,
            UNPAIRED_EVENT_MINUTES_RANGE,
        ),
    };
    if let Some(cause) = config.contradiction() {
        source.problem(Origin::Missing, "intake.memory_budget", cause);
    }
    config
}

fn alerting(source: &mut Source<'_>) -> AlertingConfig {
    AlertingConfig {
        annotate_after_hours: number(
            source,
            "alerting.annotate_after_hours",
            DEFAULT_ANNOTATE_AFTER_HOURS,
            ANNOTATE_AFTER_HOURS_RANGE,
        ),
    }
}

impl IntakeConfig {
    /// Why the sizes do not go together: the largest body of all must find room, or it could never be sent.
    fn contradiction(&self) -> Option<String> {
        let largest = self.max_body_bytes.max(self.max_inflated_bytes);
        // zstd keeps the last 8 MiB for itself.
        let needed = largest + largest.min(8 * 1024 * 1024);
        (self.memory_budget < needed).then(|| {
            format!(
                "{} does not hold the largest body: max_body_bytes and max_inflated_bytes need {needed}",
                self.memory_budget
            )
        })
    }
}

fn number(
    source: &mut Source<'_>,
    key: &'static str,
    default: u64,
    (least, most): (u64, u64),
) -> u64 {
    let expected = format!("a whole number from {least} to {most}");
    let Some(given) = source.parsed::<u64>(key, &expected) else {
        return default;
    };
    if !(least..=most).contains(&given.value) {
        source.problem(
            given.origin,
            key,
            format!("{} is not {expected}", given.value),
        );
    }
    given.value
}

/// An `http` or `https` address without anything that does not belong into a base address.
fn http_url(source: &mut Source<'_>, key: &'static str) -> Option<Given<Url>> {
    let given: Given<Url> =
        source.parsed(key, "an address such as https://bellwether.example.org")?;
    let url = &given.value;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !plain
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        let cause = "must be an http or https address without user, query or fragment";
        source.problem(given.origin, key, cause);
        return None;
    }
    Some(given)
}

#[cfg(test)]
mod tests;
