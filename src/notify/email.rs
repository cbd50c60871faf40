//! Mail: a message as multipart text and HTML, by SMTP or as files in a directory. The same delivery always
//! makes the same mail, byte for byte, so a repetition replaces or repeats and never adds a second text.
//!
//! Every address is sent to on its own: one address that is refused must not keep an alert from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use lettre::address::{Address, AddressError, Envelope};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error as SmtpError};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mime, Tokio1Executor};
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::mail::{Mail, render};
use super::{Notifier, Receipt, SendError};
use crate::domain::message::{Message, one_line};

/// How the way to the SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// A plain connection that turns to TLS before anything is said; port 587 as a rule.
    StartTls,
    /// TLS from the first byte; port 465 as a rule.
    Tls,
    /// None. Only to this very machine.
    None,
}

/// An SMTP server.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// Left out when the server asks for none.
    pub credentials: Option<Credentials>,
    /// For the whole conversation about one address.
    pub time_out: Duration,
}

/// A mailer that cannot work as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BadMailer {
    #[error("{address:?} is no mail address")]
    Address {
        address: String,
        #[source]
        source: AddressError,
    },
    #[error(
        "mail would go to {0:?} unprotected: only a server on this machine may be spoken to without TLS"
    )]
    Unprotected(String),
    #[error("set up TLS for the mail server")]
    Tls(#[from] SmtpError),
    #[error("a receiver needs at least one mail address")]
    Nobody,
}

/// The process's way of sending mail, shared by all mail receivers.
pub struct Mailer {
    from: Mailbox,
    way: Way,
    /// Which addresses of a delivery that has to be tried again have their mail already. It is a courtesy: if
    /// the process dies, they get the same mail with the same Message-ID twice.
    reached: Mutex<BTreeMap<String, BTreeSet<Address>>>,
}

enum Way {
    Smtp {
        transport: AsyncSmtpTransport<Tokio1Executor>,
        time_out: Duration,
    },
    Directory(PathBuf),
}

/// Of so many half-sent deliveries the reached addresses are remembered.
const MOST_REMEMBERED: usize = 1_000;

impl Mailer {
    /// Sends through an SMTP server. Must be called within the async runtime, which keeps the connections.
    ///
    /// # Errors
    /// [`BadMailer`] if the sender is no address, TLS cannot be set up, or there is none on the way to another
    /// machine.
    pub fn smtp(from: &str, settings: &SmtpSettings) -> Result<Self, BadMailer> {
        let host = settings.host.as_str();
        let builder = match settings.encryption {
            Encryption::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host)?,
            Encryption::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host)?,
            Encryption::None if is_this_machine(host) => {
                AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            }
            Encryption::None => return Err(BadMailer::Unprotected(host.to_owned())),
        };
        let transport = with_credentials(builder, settings.credentials.clone())
            .port(settings.port)
            .timeout(Some(settings.time_out))
            .build();
        let time_out = settings.time_out;
        Self::new(
            from,
            Way::Smtp {
                transport,
                time_out,
            },
        )
    }

    /// Writes each mail into `directory`, as a file that mail programs open. The name starts with the
    /// message's time and ends with its delivery, so sending twice writes one file.
    ///
    /// # Errors
    /// [`BadMailer`] if the sender is no address.
    pub fn directory(from: &str, directory: PathBuf) -> Result<Self, BadMailer> {
        Self::new(from, Way::Directory(directory))
    }

    fn new(from: &str, way: Way) -> Result<Self, BadMailer> {
        Ok(Self {
            from: mailbox(from)?,
            way,
            reached: Mutex::default(),
        })
    }

    fn reached(&self, delivery_key: &str) -> BTreeSet<Address> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.get(delivery_key).cloned().unwrap_or_default()
    }

    fn remember(&self, delivery_key: &str, addresses: BTreeSet<Address>) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.len() >= MOST_REMEMBERED {
            reached.pop_first();
        }
        reached.insert(delivery_key.to_owned(), addresses);
    }

    fn forget(&self, delivery_key: &str) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.remove(delivery_key);
    }
}

/// Some people who get mail.
pub struct Email {
    mailer: Arc<Mailer>,
    to: Vec<Mailbox>,
}

impl Email {
    /// A notifier for the addresses of `to`, plain or with a name ("Ada <ada@example.org>").
    ///
    /// # Errors
    /// [`BadMailer`] if one of them is no address, or there is none.
    pub fn new(mailer: Arc<Mailer>, to: &[String]) -> Result<Self, BadMailer> {
        let to: Vec<Mailbox> = to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err(BadMailer::Nobody);
        }
        Ok(Self { mailer, to })
    }

    async fn mail(&self, delivery_key: &str, message: &Message) -> Result<Receipt, SendError> {
        let tidied = message.tidied();
        let mime = self.compose(delivery_key, &tidied).map_err(permanent)?;
        match &self.mailer.way {
            Way::Smtp {
                transport,
                time_out,
            } => {
                self.mail_each(delivery_key, &mime.formatted(), transport, *time_out)
                    .await
            }
            Way::Directory(directory) => {
                let name = format!(
                    "{}-{}.eml",
                    message.at.format("%Y%m%dT%H%M%SZ"),
                    token(delivery_key)
                );
                match write_once(directory, &name, &mime.formatted()).await {
                    Ok(()) => Ok(Receipt { detail: name }),
                    Err(error) => Err(retry(format!("cannot write {name}: {error}"))),
                }
            }
        }
    }

    /// Sends to each address that has not been reached yet.
    async fn mail_each(
        &self,
        delivery_key: &str,
        mime: &[u8],
        transport: &AsyncSmtpTransport<Tokio1Executor>,
        time_out: Duration,
    ) -> Result<Receipt, SendError> {
        let mut reached = self.mailer.reached(delivery_key);
        let mut later = None;
        let mut refused = Vec::new();
        for to in self.to.iter().map(|mailbox| &mailbox.email) {
            if reached.contains(to) {
                continue;
            }
            let envelope = Envelope::new(Some(self.mailer.from.email.clone()), vec![to.clone()])
                .map_err(permanent)?;
            match timed(time_out, transport.send_raw(&envelope, mime)).await {
                Ok(()) => {
                    reached.insert(to.clone());
                }
                Err(SendError::Permanent { cause }) => refused.push(format!("{to}: {cause}")),
                Err(SendError::Retry { cause, .. }) => later = Some(format!("{to}: {cause}")),
            }
        }
        if let Some(cause) = later {
            self.mailer.remember(delivery_key, reached);
            return Err(retry(cause));
        }
        self.mailer.forget(delivery_key);
        if reached.is_empty() {
            return Err(SendError::Permanent {
                cause: refused.join("; "),
            });
        }
        let taken = format!("taken for {} of {} addresses", reached.len(), self.to.len());
        let mut detail = vec![taken];
        detail.extend(refused);
        Ok(Receipt {
            detail: detail.join("; "),
        })
    }

    /// Makes the mail. Everything in it follows from the delivery, the message and the configuration.
    fn compose(&self, delivery_key: &str, tidied: &Message) -> Result<Mime, ComposeError> {
        let Mail {
            subject,
            text,
            html,
        } = render(tidied)?;
        let key = token(delivery_key);
        let domain = self.mailer.from.email.domain();
        // All mails of a thread answer one that was never sent: which of them comes first differs by receiver.
        let root = format!("<{}.thread@{domain}>", token(&tidied.thread));
        let mut builder = Mime::builder()
            .from(self.mailer.from.clone())
            .subject(subject)
            .date(mail_date(tidied.at))
            .message_id(Some(format!("<{key}@{domain}>")))
            .in_reply_to(root.clone())
            .references(root)
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Bellwether-Delivery", &key));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let bodies = MultiPart::alternative()
            .boundary(format!("part-{key}"))
            .singlepart(SinglePart::plain(text))
            .singlepart(SinglePart::html(html));
        Ok(builder.multipart(bodies)?)
    }
}

impl Notifier for Email {
    fn send<'a>(
        &'a self,
        delivery_key: &'a str,
        message: &'a Message,
        _now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.mail(delivery_key, message))
    }
}

#[derive(Debug, thiserror::Error)]
enum ComposeError {
    #[error("render the mail: {0}")]
    Render(#[from] askama::Error),
    #[error("put the mail together: {0}")]
    Mime(#[from] lettre::error::Error),
}

fn mailbox(text: &str) -> Result<Mailbox, BadMailer> {
    text.parse().map_err(|source| BadMailer::Address {
        address: text.to_owned(),
        source,
    })
}

fn with_credentials(
    builder: AsyncSmtpTransportBuilder,
    credentials: Option<Credentials>,
) -> AsyncSmtpTransportBuilder {
    match credentials {
        Some(credentials) => builder.credentials(credentials),
        None => builder,
    }
}

fn is_this_machine(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// lettre bounds the connecting only, and a server could go on for ever after that.
async fn timed<T>(
    time_out: Duration,
    sending: impl Future<Output = Result<T, SmtpError>>,
) -> Result<(), SendError> {
    match tokio::time::timeout(time_out, sending).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(classified(&error)),
        Err(_) => Err(retry(format!(
            "no answer within {} s",
            time_out.as_secs_f64()
        ))),
    }
}

/// A 5xx answer is about this mail and stands; whatever else goes wrong can be mended without touching it.
fn classified(error: &SmtpError) -> SendError {
    // lettre's texts hold what the server said, which can be long.
    let cause = one_line(&chain(error), 300);
    let about_sign_in = error
        .status()
        .is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
    if error.is_permanent() && !about_sign_in {
        SendError::Permanent { cause }
    } else {
        retry(cause)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn retry(cause: String) -> SendError {
    SendError::Retry { after: None, cause }
}

fn permanent(error: impl std::fmt::Display) -> SendError {
    SendError::Permanent {
        cause: error.to_string(),
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// A form of `key` that can stand in a header, an id and a file name: the key itself if it is made of
/// harmless characters, as ids are; otherwise its hash.
fn token(key: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=60).contains(&key.len()) && key.chars().all(harmless) {
        return key.to_owned();
    }
    let hash = Sha256::digest(key.as_bytes());
    hash.iter()
        .take(20)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The mail's date: the message's own, so that it does not move when it is sent again. Mail knows no time
/// before 1970 and after 9999.
fn mail_date(at: DateTime<Utc>) -> SystemTime {
    let seconds = u64::try_from(at.timestamp())
        .unwrap_or(0)
        .min(253_402_300_799);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Writes a file that is either whole or not there; one that is there is left alone.
async fn write_once(directory: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let path = directory.join(name);
    if fs::try_exists(&path).await? {
        return Ok(());
    }
    fs::create_dir_all(directory).await?;
    let part = directory.join(format!(".{name}.part"));
    let mut file = fs::File::create(&part).await?;
    file.write_all(content).await?;
    file.sync_all().await?;
    fs::rename(&part, &path).await
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;
    use tokio::process::{Child, Command};

    use super::super::conformance::{self, Behaviour, Channel};
    use super::crate::outbound::tests::{nobody, silent_server};
    use super::*;
    use crate::domain::message::NotifyReason;
    use crate::domain::message::tests::{example, hostile};

    const FROM: &str = "Bellwether <bellwether@example.org>";

    fn now() -> DateTime<Utc> {
        "2013-05-08T03:00:10Z".parse().expect("an instant")
    }

    /// A directory of its own, gone with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("bellwether-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).expect("the temporary directory can be written");
            Self(path)
        }

        /// The files that are there, by name.
        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<(String, String)> = std::fs::read_dir(&self.0)
                .expect("is there")
                .map(|entry| entry.expect("is readable").path())
                .map(|path| {
                    let name = path.file_name().expect("has a name").to_string_lossy();
                    let content = std::fs::read(&path).expect("is readable");
                    (
                        name.into_owned(),
                        String::from_utf8_lossy(&content).into_owned(),
                    )
                })
                .filter(|(name, _)| !name.starts_with('.'))
                .collect();
            files.sort();
            files
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A real SMTP server in a process of its own.
    struct Sink {
        port: u16,
        taken: Scratch,
        /// Kept, because the server ends when its standard input is closed.
        _process: Child,
    }

    impl Sink {
        async fn start(name: &str) -> Self {
            let taken = Scratch::new(name);
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp_sink.py");
            let mut process = Command::new("/usr/bin/python3")
                .arg(script)
                .arg(&taken.0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("/usr/bin/python3 starts; install the package python3-aiosmtpd");
            let stdout = process.stdout.take().expect("is piped");
            let mut line = String::new();
            let mut reader = BufReader::new(stdout);
            reader.read_line(&mut line).await.expect("is text");
            let Ok(port) = line.trim().parse() else {
                let output = process.wait_with_output().await.expect("has ended");
                panic!(
                    "the SMTP server for this test does not start; it needs the package python3-aiosmtpd: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            };
            Self {
                port,
                taken,
                _process: process,
            }
        }

        fn mailer(&self) -> Arc<Mailer> {
            mailer_to(self.port)
        }
    }

    fn settings(host: &str, port: u16, encryption: Encryption) -> SmtpSettings {
        SmtpSettings {
            host: host.to_owned(),
            port,
            encryption,
            credentials: None,
            time_out: Duration::from_secs(2),
        }
    }

    fn mailer_to(port: u16) -> Arc<Mailer> {
        let settings = settings("127.0.0.1", port, Encryption::None);
        Arc::new(Mailer::smtp(FROM, &settings).expect("is good"))
    }

    fn email(mailer: Arc<Mailer>, to: &[&str]) -> Email {
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        Email::new(mailer, &to).expect("good addresses")
    }

    fn header_names(mail: &str) -> Vec<String> {
        let head = mail.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.to_lowercase())
            .collect()
    }

    fn header_value(mail: &str, name: &str) -> String {
        let prefix = format!("{name}: ");
        let line = mail.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {mail}"))
            .to_owned()
    }

    #[test]
    fn mail_is_composed_as_designed() {
        let mailer = Mailer::directory(FROM, PathBuf::new()).expect("is good");
        let email = email(
            Arc::new(mailer),
            &["Ada Example <ada@example.org>", "team@example.org"],
        );
        let message = example(NotifyReason::AlertOpened);
        let mime = email.compose("0197-delivery", &message).expect("composes");
        let mime = String::from_utf8(mime.formatted()).expect("mail is ASCII");
        let (head, _) = mime.split_once("\r\n\r\n").expect("has a body");
        insta::assert_snapshot!(head.replace("\r\n", "\n"), @r#"
        From: Bellwether <bellwether@example.org>
        Subject: [critical] air-time: mean absolute error 14.94, limit 13.50
        Date: Wed, 08 May 2013 03:00:00 +0000
        Message-ID: <0197-delivery@example.org>
        In-Reply-To: <alert-0197.thread@example.org>
        References: <alert-0197.thread@example.org>
        Auto-Submitted: auto-generated
        X-Bellwether-Delivery: 0197-delivery
        To: "Ada Example" <ada@example.org>, team@example.org
        MIME-Version: 1.0
        Content-Type: multipart/alternative; boundary="part-0197-delivery"
        "#);
        let again = email.compose("0197-delivery", &message).expect("composes");
        assert_eq!(mime.as_bytes(), again.formatted(), "always the same");
    }

    #[test]
    fn mails_of_one_alert_are_one_conversation() {
        let mailer = Arc::new(Mailer::directory(FROM, PathBuf::new()).expect("is good"));
        let email = email(mailer, &["ada@example.org"]);
        let composed = |key: &str, reason| {
            let mime = email.compose(key, &example(reason)).expect("composes");
            String::from_utf8(mime.formatted()).expect("mail is ASCII")
        };
        let opened = composed("key-1", NotifyReason::AlertOpened);
        let resolved = composed("key-2", NotifyReason::AlertResolved);
        for name in ["In-Reply-To", "References"] {
            assert_eq!(header_value(&opened, name), header_value(&resolved, name));
        }
        assert_ne!(
            header_value(&opened, "Message-ID"),
            header_value(&resolved, "Message-ID")
        );
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for (host, accepted) in [
            ("127.0.0.1", true),
            ("[::1]", true),
            ("localhost", true),
            ("mail.example.org", false),
            ("127.0.0.1.example.org", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_this_machine(host), accepted, "{host}");
        }
    }

    #[tokio::test]
    async fn unprotected_or_misspelt_configuration_makes_no_mailer() {
        let plain = settings("mail.example.org", 25, Encryption::None);
        assert!(matches!(
            Mailer::smtp(FROM, &plain),
            Err(BadMailer::Unprotected(_))
        ));
        for encryption in [Encryption::StartTls, Encryption::Tls] {
            let protected = settings("mail.example.org", 587, encryption);
            assert!(Mailer::smtp(FROM, &protected).is_ok());
        }
        let mailer = Arc::new(Mailer::directory(FROM, PathBuf::new()).expect("is good"));
        for address in ["", "nobody", "a@b\r\nBcc: c@d", "a@b, c@d"] {
            assert!(
                Mailer::directory(address, PathBuf::new()).is_err(),
                "{address:?}"
            );
            assert!(Email::new(mailer.clone(), &[address.to_owned()]).is_err());
        }
        assert!(matches!(Email::new(mailer, &[]), Err(BadMailer::Nobody)));
    }

    #[tokio::test]
    async fn sending_twice_into_a_directory_writes_one_file() {
        let directory = Scratch::new("mail-files");
        let mailer = Mailer::directory(FROM, directory.0.join("mails")).expect("is good");
        let email = email(Arc::new(mailer), &["ada@example.org"]);
        let message = example(NotifyReason::AlertOpened);
        for key in ["key-1", "key-1", "../key\r\n2"] {
            email.send(key, &message, now()).await.expect("is written");
        }
        let files = Scratch(directory.0.join("mails")).files();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.contains(&"20130508T030000Z-key-1.eml"), "{names:?}");
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("20130508T030000Z-"))
        );
    }

    #[tokio::test]
    async fn directory_that_cannot_be_written_is_tried_again() {
        let directory = Scratch::new("mail-blocked");
        let blocked = directory.0.join("a file");
        std::fs::write(&blocked, "").expect("can be written");
        let email = email(
            Arc::new(Mailer::directory(FROM, blocked).expect("is good")),
            &["ada@example.org"],
        );
        let sent = email
            .send("key", &example(NotifyReason::AlertOpened), now())
            .await;
        assert!(matches!(sent, Err(SendError::Retry { .. })), "{sent:?}");
    }

    #[tokio::test]
    async fn one_refused_address_does_not_keep_the_mail_from_the_others() {
        let sink = Sink::start("mail-one-refused").await;
        let email = email(
            sink.mailer(),
            &["refused@example.org", "ada@example.org", "bob@example.org"],
        );
        let receipt = email
            .send("key", &example(NotifyReason::AlertOpened), now())
            .await
            .expect("is delivered");
        assert!(
            receipt
                .detail
                .starts_with("taken for 2 of 3 addresses; refused@example.org: ")
        );
        assert_eq!(sink.taken.files().len(), 2);
    }

    #[tokio::test]
    async fn address_that_has_its_mail_does_not_get_it_again_while_another_is_retried() {
        let sink = Sink::start("mail-one-later").await;
        let email = email(sink.mailer(), &["ada@example.org", "later@example.org"]);
        for _ in 0..3 {
            let sent = email
                .send("key", &example(NotifyReason::AlertOpened), now())
                .await;
            let Err(SendError::Retry { cause, .. }) = sent else {
                panic!("{sent:?}");
            };
            assert!(
                cause.contains("later@example.org") && cause.contains("451"),
                "{cause}"
            );
        }
        assert_eq!(sink.taken.files().len(), 1);
    }

    #[tokio::test]
    async fn server_that_cannot_be_used_as_configured_is_tried_again_and_gets_nothing() {
        let sink = Sink::start("mail-misconfigured").await;
        let wrong_password = Credentials::new("ada".to_owned(), "wrong".to_owned());
        for (name, encryption, credentials) in [
            ("offers no TLS", Encryption::StartTls, None),
            ("speaks no TLS", Encryption::Tls, None),
            (
                "refuses the password",
                Encryption::None,
                Some(wrong_password),
            ),
        ] {
            let settings = SmtpSettings {
                credentials,
                ..settings("127.0.0.1", sink.port, encryption)
            };
            let mailer = Arc::new(Mailer::smtp(FROM, &settings).expect("is good"));
            let sent = email(mailer, &["ada@example.org"])
                .send("key", &example(NotifyReason::AlertOpened), now())
                .await;
            assert!(
                matches!(sent, Err(SendError::Retry { .. })),
                "{name}: {sent:?}"
            );
        }
        assert!(sink.taken.files().is_empty());
    }

    #[tokio::test]
    async fn hostile_text_reaches_nobody_else() {
        let sink = Sink::start("mail-hostile").await;
        email(sink.mailer(), &["ada@example.org"])
            .send("key", &hostile(), now())
            .await
            .expect("is delivered");
        let files = sink.taken.files();
        let (recipients, mail) = files[0].1.split_once("\n\n").expect("envelope and mail");
        assert_eq!(recipients, "ada@example.org");
        assert!(!header_names(mail).contains(&"bcc".to_owned()));
    }

    struct MailChannel(Sink);

    /// A server that answers the connection with a line that has no end.
    async fn babbler() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("is bound").port();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                while connection.write_all(&[b'2'; 10_000]).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            }
        });
        port
    }

    impl Channel for MailChannel {
        async fn facing(&self, behaviour: Behaviour) -> Box<dyn Notifier> {
            let (mailer, to) = match behaviour {
                Behaviour::Takes => (self.0.mailer(), "ada@example.org"),
                Behaviour::NotNow => (self.0.mailer(), "later@example.org"),
                Behaviour::Never => (self.0.mailer(), "refused@example.org"),
                Behaviour::Silent => (mailer_to(silent_server().await.port()), "a@example.org"),
                Behaviour::Absent => (mailer_to(nobody().await.port()), "a@example.org"),
                Behaviour::Babbles => (mailer_to(babbler().await), "a@example.org"),
            };
            Box::new(email(mailer, &[to]))
        }

        async fn received(&self) -> Vec<conformance::Received> {
            let files = self.0.taken.files();
            files
                .iter()
                .map(|(_, file)| file.split_once("\n\n").expect("envelope and mail").1)
                .map(|mail| conformance::Received {
                    identity: header_value(mail, "Message-ID"),
                    size: mail.len(),
                    headers: header_names(mail),
                })
                .collect()
        }
    }

    #[tokio::test]
    async fn email_conforms() {
        let channel = MailChannel(Sink::start("mail-conformance").await);
        conformance::check(&channel).await;
    }
}
