//! The one HTTP client that leaves the machine, for webhooks and pipelines alike. Its guard looks at the
//! addresses inside the client's own name resolution, so the address that was judged is the one connected
//! to; a check before the request would be answered by one lookup and evaded by the next.
//!
//! It follows no redirect (a literal address in one would never be looked up), reads no proxy from the
//! environment, keeps no connection and no cookie, repeats nothing by itself, and keeps at most
//! [`LONGEST_ANSWER`] of an answer.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use reqwest::StatusCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

use crate::domain::message::one_line;

mod guard;
pub mod signature;

pub use guard::{BadHostPort, HostPort, Refusal};

/// How much of an answer is read; the rest is not waited for.
pub const LONGEST_ANSWER: usize = 64 * 1024;

/// The longest wait that another side can ask of us. A message that waits longer is no alert any more.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

const CONNECT_TIME_OUT: Duration = Duration::from_secs(10);

/// The guarded client. Clones share it.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// For the public internet: refuses every other address.
    guarded: reqwest::Client,
    /// For targets that the operator named.
    unguarded: reqwest::Client,
    allow: Arc<[HostPort]>,
}

/// What the other side answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    /// The beginning of the body, at most [`LONGEST_ANSWER`] bytes.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub complete: bool,
    retry_after: Option<String>,
}

/// No answer was had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The guard does not let us ask.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No connection was made, so the other side knows nothing of the request.
    #[error("cannot connect: {0}")]
    NotSent(String),
    /// The other side may have received the request, and may have acted on it.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// A client that cannot be made, because the machine's TLS set-up is broken.
#[derive(Debug, thiserror::Error)]
#[error("set up the outbound HTTP client")]
pub struct SetUpError(#[from] reqwest::Error);

impl Outbound {
    /// A client that reaches the public internet, and beyond it only the targets of `allow`.
    ///
    /// # Errors
    /// [`SetUpError`] if TLS cannot be set up.
    pub fn new(allow: Vec<HostPort>) -> Result<Self, SetUpError> {
        Self::resolving_by(allow, Arc::new(look_up))
    }

    fn resolving_by(allow: Vec<HostPort>, lookup: Arc<Lookup>) -> Result<Self, SetUpError> {
        // An error means that a provider is installed already, which is all we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            guarded: client(Some(GuardedResolver { lookup }))?,
            unguarded: client(None)?,
            allow: allow.into(),
        })
    }

    /// Judges a URL without asking for it, as far as possible without looking up its name. Meant for the
    /// moment somebody enters it; every request judges again.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn check(&self, url: &str) -> Result<(), Refusal> {
        guard::judge(url, &self.allow).map(|_| ())
    }

    /// Posts JSON. Within `time_out` there is an answer or an error.
    ///
    /// # Errors
    /// [`OutboundError`], which tells whether the other side can have received the request.
    pub async fn post_json(
        &self,
        url: &str,
        mut headers: HeaderMap,
        body: Vec<u8>,
        time_out: Duration,
    ) -> Result<Answer, OutboundError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let target = guard::judge(url, &self.allow)?;
        let request = self.client_for(&target).post(target.url).body(body);
        ask(request.headers(headers).timeout(time_out)).await
    }

    /// Gets JSON. Within `time_out` there is an answer or an error.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn get_json(
        &self,
        url: &str,
        mut headers: HeaderMap,
        time_out: Duration,
    ) -> Result<Answer, OutboundError> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let target = guard::judge(url, &self.allow)?;
        let request = self.client_for(&target).get(target.url);
        ask(request.headers(headers).timeout(time_out)).await
    }

    fn client_for(&self, target: &guard::Target) -> &reqwest::Client {
        if target.allowed {
            &self.unguarded
        } else {
            &self.guarded
        }
    }
}

impl Answer {
    /// How long the other side asks us to wait, by `Retry-After` in either of its forms.
    #[must_use]
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        let text = self.retry_after.as_deref()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = DateTime::parse_from_rfc2822(text).ok()?;
        (until.with_timezone(&Utc) - now).to_std().ok()
    }

    /// Status and the beginning of the body, for the record.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = one_line(&String::from_utf8_lossy(&self.body), 200);
        if text.is_empty() {
            format!("answered {}", self.status)
        } else {
            format!("answered {}: {text}", self.status)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one outbound client; all others are to use it"
)]
fn client(resolver: Option<GuardedResolver>) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_TIME_OUT);
    if let Some(resolver) = resolver {
        builder = builder.dns_resolver(resolver);
    }
    builder.build()
}

async fn ask(request: reqwest::RequestBuilder) -> Result<Answer, OutboundError> {
    let mut response = request.send().await.map_err(without_answer)?;
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    // Once the status is known the answer counts, whatever becomes of its body.
    let complete = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let left = LONGEST_ANSWER - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(left)]);
                if chunk.len() > left {
                    break false;
                }
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Ok(Answer {
        status: response.status(),
        body,
        complete,
        retry_after,
    })
}

/// Tells the errors before the connection from those after it, and finds the guard's word among the causes.
fn without_answer(error: reqwest::Error) -> OutboundError {
    // A URL can hold a secret in its path, and this text is shown and stored.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return OutboundError::Refused(refusal.clone());
        }
        text = cause.to_string();
        source = cause.source();
    }
    if error.is_builder() || error.is_connect() {
        OutboundError::NotSent(text)
    } else {
        OutboundError::NoAnswer(text)
    }
}

/// Finds the addresses of a name.
type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

fn look_up(name: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

/// Looks up names for the client and hands it only addresses it may connect to. A name that has an inside
/// address beside public ones is refused altogether: no honest receiver has such a name.
struct GuardedResolver {
    lookup: Arc<Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let lookup = (self.lookup)(name.clone());
        Box::pin(async move {
            let addresses = lookup.await?;
            if addresses.is_empty() {
                return Err(Refusal::NoAddress(name).into());
            }
            for address in &addresses {
                guard::judge_address(address.ip())?;
            }
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::Body;
    use axum::http::header::{CONTENT_ENCODING, LOCATION};
    use axum::routing::any;
    use futures::StreamExt;
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Serves `router` on a free port of the loopback address until the test's runtime ends.
    pub(crate) async fn serve(router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// A server that takes connections and never says a word.
    pub(crate) async fn silent_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("is bound");
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                held.push(connection);
            }
        });
        address
    }

    /// An address at which nobody listens.
    pub(crate) async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("is bound")
    }

    /// A client that may reach exactly `address`.
    pub(crate) fn allowing(address: SocketAddr) -> Outbound {
        let allowed = address.to_string().parse().expect("host and port");
        Outbound::new(vec![allowed]).expect("sets up")
    }

    /// A name service that gives one of `answers` after the other, whatever it is asked, and a count of how
    /// often it was.
    fn scripted(answers: Vec<Vec<&str>>) -> (Arc<Lookup>, Arc<AtomicUsize>) {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counter = lookups.clone();
        let address = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 0);
        let answers: Vec<Vec<SocketAddr>> = answers
            .into_iter()
            .map(|answer| answer.into_iter().map(address).collect())
            .collect();
        let lookup: Arc<Lookup> = Arc::new(move |_| {
            let answer = answers[counter.fetch_add(1, Ordering::SeqCst)].clone();
            Box::pin(async move { Ok(answer) })
        });
        (lookup, lookups)
    }

    async fn post(outbound: &Outbound, url: &str) -> Result<Answer, OutboundError> {
        outbound
            .post_json(url, HeaderMap::new(), b"{}".to_vec(), SECOND)
            .await
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_refused_at_the_connection() {
        for addresses in [
            vec!["127.0.0.1"],
            vec!["10.0.0.7"],
            vec!["169.254.169.254"],
            vec!["::1"],
            vec!["fd00:ec2::254"],
            vec!["fe80::1"],
            vec!["::ffff:127.0.0.1"],
            vec!["8.8.8.8", "127.0.0.1"],
            vec!["8.8.8.8", "::1"],
        ] {
            let (lookup, lookups) = scripted(vec![addresses.clone()]);
            let outbound = Outbound::resolving_by(Vec::new(), lookup).expect("sets up");
            let refused = post(&outbound, "http://harmless.example/").await;
            assert!(
                matches!(
                    refused,
                    Err(OutboundError::Refused(Refusal::InsideAddress(_)))
                ),
                "{addresses:?}: {refused:?}"
            );
            assert_eq!(lookups.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn name_that_changes_its_address_is_judged_at_each_lookup() {
        let (lookup, lookups) = scripted(vec![vec!["8.8.8.8"], vec!["127.0.0.1"]]);
        let outbound = Outbound::resolving_by(Vec::new(), lookup.clone()).expect("sets up");
        // Judging the URL looks nothing up, so the harmless answer cannot be spent on it.
        assert_eq!(outbound.check("http://rebinding.example/"), Ok(()));
        assert_eq!(lookups.load(Ordering::SeqCst), 0);

        let resolver = GuardedResolver { lookup };
        let name = || "rebinding.example".parse().expect("a name");
        let handed_on = resolver.resolve(name()).await.expect("is public");
        let expected = SocketAddr::from(([8, 8, 8, 8], 0));
        assert_eq!(handed_on.collect::<Vec<_>>(), [expected]);
        assert!(resolver.resolve(name()).await.is_err());
    }

    #[tokio::test]
    async fn name_without_an_address_is_refused() {
        let (lookup, _) = scripted(vec![vec![]]);
        let outbound = Outbound::resolving_by(Vec::new(), lookup).expect("sets up");
        assert_eq!(
            post(&outbound, "http://empty.example/").await.err(),
            Some(OutboundError::Refused(Refusal::NoAddress(
                "empty.example".to_owned()
            )))
        );
    }

    #[tokio::test]
    async fn loopback_is_refused_unless_the_operator_named_it() {
        let hits = Arc::new(AtomicUsize::new(0));
        let counter = hits.clone();
        let address = serve(Router::new().fallback(any(move || async move {
            counter.fetch_add(1, Ordering::SeqCst);
        })))
        .await;
        let url = format!("http://{address}/");
        let closed = Outbound::new(Vec::new()).expect("sets up");
        assert!(matches!(
            post(&closed, &url).await,
            Err(OutboundError::Refused(_))
        ));
        assert_eq!(hits.load(Ordering::SeqCst), 0);
        assert!(post(&allowing(address), &url).await.is_ok());
        assert_eq!(hits.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn redirects_are_answers_and_are_not_followed() {
        let hits = Arc::new(AtomicUsize::new(0));
        let counter = hits.clone();
        let address = serve(
            Router::new()
                .route(
                    "/start",
                    any(|| async {
                        let location = (LOCATION, "/private");
                        (StatusCode::TEMPORARY_REDIRECT, [location])
                    }),
                )
                .route(
                    "/private",
                    any(move || async move {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }),
                ),
        )
        .await;
        let answer = post(&allowing(address), &format!("http://{address}/start")).await;
        assert_eq!(
            answer.expect("answers").status,
            StatusCode::TEMPORARY_REDIRECT
        );
        assert_eq!(hits.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn long_slow_and_compressed_bodies_are_cut_but_their_status_counts() {
        let endless = || async {
            let chunk = vec![b'x'; 10_000];
            Body::from_stream(futures::stream::repeat_with(move || {
                Ok::<_, io::Error>(chunk.clone())
            }))
        };
        let dripping = || async {
            let first = futures::stream::once(async { Ok::<_, io::Error>("x") });
            Body::from_stream(first.chain(futures::stream::pending()))
        };
        let bomb = || async { ([(CONTENT_ENCODING, "gzip")], vec![0_u8; 1_000]) };
        let address = serve(
            Router::new()
                .route("/endless", any(endless))
                .route("/dripping", any(dripping))
                .route("/bomb", any(bomb)),
        )
        .await;
        for (path, kept, complete) in [
            ("endless", LONGEST_ANSWER, false),
            ("dripping", 1, false),
            ("bomb", 1_000, true),
        ] {
            let answer = post(&allowing(address), &format!("http://{address}/{path}"))
                .await
                .expect("answers");
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(
                (answer.body.len(), answer.complete),
                (kept, complete),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn errors_tell_whether_the_request_can_have_arrived() {
        let address = nobody().await;
        let error = post(&allowing(address), &format!("http://{address}/secret-path")).await;
        let Err(OutboundError::NotSent(cause)) = error else {
            panic!("{error:?}");
        };
        assert!(!cause.contains("secret-path"), "{cause}");

        let address = silent_server().await;
        let error = post(&allowing(address), &format!("http://{address}/secret-path")).await;
        let Err(OutboundError::NoAnswer(cause)) = error else {
            panic!("{error:?}");
        };
        assert!(!cause.contains("secret-path"), "{cause}");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = "2013-05-08T03:00:00Z".parse().expect("an instant");
        for (text, seconds) in [
            (Some("120"), Some(120)),
            (Some(" 0 "), Some(0)),
            (Some("Wed, 08 May 2013 03:02:00 GMT"), Some(120)),
            (Some("Wed, 08 May 2013 02:00:00 GMT"), None),
            (Some("-1"), None),
            (Some("soon"), None),
            (None, None),
        ] {
            let answer = Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                body: Vec::new(),
                complete: true,
                retry_after: text.map(str::to_owned),
            };
            assert_eq!(
                answer.retry_after(now),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
    }

    /// Runs the test below once more in a process whose environment names a proxy.
    #[tokio::test]
    async fn proxies_of_the_environment_are_not_used() {
        let hits = Arc::new(AtomicUsize::new(0));
        let counter = hits.clone();
        let proxy = serve(Router::new().fallback(any(move || async move {
            counter.fetch_add(1, Ordering::SeqCst);
        })))
        .await;
        let target = serve(Router::new().fallback(any(|| async { "target" }))).await;
        let own_tests = std::env::current_exe().expect("this test runs from a file");
        let mut child = tokio::process::Command::new(own_tests);
        child
            .args(["--ignored", "--exact"])
            .arg("outbound::tests::request_reaches_the_target_itself")
            .env("TEST_TARGET", target.to_string());
        for variable in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "all_proxy",
        ] {
            child.env(variable, format!("http://{proxy}"));
        }
        let output = child.output().await.expect("starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        assert_eq!(hits.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    #[ignore = "run by proxies_of_the_environment_are_not_used, with an environment of its own"]
    async fn request_reaches_the_target_itself() {
        let target = std::env::var("TEST_TARGET").expect("set by the test that starts this one");
        let address: SocketAddr = target.parse().expect("an address");
        let answer = post(&allowing(address), &format!("http://{address}/")).await;
        assert_eq!(answer.expect("answers").body, b"target");
    }
}
