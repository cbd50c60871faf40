//! The command line's own HTTP client. It goes to the one server that the user names, so the guard that the
//! service's outbound client has against internal addresses would only be in the way: the server usually is
//! at one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::ServerOptions;
use crate::domain::clock::{Clock, SystemClock};

/// Fitting a large baseline takes its time.
const TIME_OUT: Duration = Duration::from_secs(600);
const HEALTH_TIME_OUT: Duration = Duration::from_secs(5);
/// How often a request is sent that the server cannot take at present.
const ATTEMPTS: u32 = 6;
/// How long to wait when the server does not say.
const USUAL_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A server and the token it is asked with.
#[derive(Debug)]
pub struct Server {
    http: Client,
    base: Url,
    token: String,
}

/// What a problem document says.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    errors: Vec<FieldProblem>,
}

#[derive(Debug, Deserialize)]
struct FieldProblem {
    field: String,
    cause: String,
}

impl Server {
    /// # Errors
    /// When no token is given, or the address is not one of HTTP.
    pub fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let base = options.server.clone();
        if !matches!(base.scheme(), "http" | "https") {
            bail!("use {base} as the server: its address begins with http:// or https://");
        }
        let token = options.token.clone().context(
            "ask the server without a token: make one on the page Settings, then set BELLWETHER_TOKEN \
             to it (or give it with --token)",
        )?;
        Ok(Self {
            http: http(TIME_OUT)?,
            base,
            token,
        })
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow!("use {} as the address of a server", self.base))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// With what the server says, and what to do.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let asked = self
            .http
            .get(self.url(path, query)?)
            .bearer_auth(&self.token);
        let response = asked
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        self.answer(response).await
    }

    /// Sends a JSON body.
    ///
    /// # Errors
    /// With what the server says, and what to do.
    pub async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let body = serde_json::to_vec(body).context("write the request as JSON")?;
        self.send(path, &[], "application/json", body).await
    }

    /// Puts a JSON body in the place of what is there; again where the server asks for it.
    ///
    /// # Errors
    /// As for [`Server::post`].
    pub async fn put(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let body = serde_json::to_vec(body).context("write the request as JSON")?;
        let url = self.url(path, &[])?;
        self.repeatedly(|| {
            let request = self
                .http
                .put(url.clone())
                .header(CONTENT_TYPE, "application/json");
            request.body(body.clone())
        })
        .await
    }

    /// Sends a body of any type; again where the server asks for it, because everything that is sent may be sent
    /// twice.
    ///
    /// # Errors
    /// As for [`Server::post`].
    pub async fn send(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        content_type: &str,
        body: impl Into<bytes::Bytes>,
    ) -> anyhow::Result<Value> {
        let (url, body) = (self.url(path, query)?, body.into());
        self.repeatedly(|| {
            let request = self
                .http
                .post(url.clone())
                .header(CONTENT_TYPE, content_type);
            request.body(body.clone())
        })
        .await
    }

    async fn repeatedly(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Value> {
        let mut attempt = 1;
        loop {
            let sent = request().bearer_auth(&self.token).send().await;
            let response = sent.map_err(|error| self.unreachable(&error))?;
            let may_pass = matches!(
                response.status(),
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            );
            if !may_pass || attempt == ATTEMPTS {
                return self.answer(response).await;
            }
            attempt += 1;
            let clock = SystemClock;
            clock.sleep_until(clock.now() + wait(&response)).await;
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let cause = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source())
            .last()
            .map_or_else(String::new, ToString::to_string);
        anyhow!(
            "reach the server at {}: {cause}. Is it running? `bellwether serve` starts one; another address \
             is given with --server or BELLWETHER_SERVER",
            self.base
        )
    }

    async fn answer(&self, response: Response) -> anyhow::Result<Value> {
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            if body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&body).with_context(|| self.no_bellwether(status));
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
            bail!(self.no_bellwether(status));
        };
        bail!(explained(status, &problem))
    }

    fn no_bellwether(&self, status: StatusCode) -> String {
        format!(
            "understand the answer of {} (status {status}): is this the address of Bellwether?",
            self.base
        )
    }
}

/// What a refusal means for whoever typed the command.
fn explained(status: StatusCode, problem: &Problem) -> String {
    let listed: String = problem
        .errors
        .iter()
        .map(|error| format!("\n  {}: {}", error.field, error.cause))
        .collect();
    let said = if listed.is_empty() {
        &problem.detail
    } else {
        &listed
    };
    match status {
        StatusCode::UNAUTHORIZED => format!(
            "sign in: {said}. Make a token on the page Settings and set BELLWETHER_TOKEN to it"
        ),
        StatusCode::FORBIDDEN => {
            format!("do this with the token: {said}. Make one with that scope on the page Settings")
        }
        _ => format!("do this: {said}"),
    }
}

fn wait(response: &Response) -> chrono::TimeDelta {
    let asked = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(USUAL_WAIT, Duration::from_secs);
    chrono::TimeDelta::from_std(asked.min(LONGEST_WAIT)).unwrap_or_default()
}

/// Whether the address answers with a success; says why not on standard error.
pub async fn health(url: Url) -> ExitCode {
    let answered = async {
        let response = http(HEALTH_TIME_OUT)?.get(url).send().await?;
        response.error_for_status()?;
        anyhow::Ok(())
    };
    match answered.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bellwether: not well: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line's way to its own server, which the outbound guard would refuse"
)]
fn http(time_out: Duration) -> anyhow::Result<Client> {
    // Whoever comes first installs the process's TLS provider; it is the same one everywhere here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(time_out)
        .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("set up HTTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let problem = |errors| Problem {
            detail: "the token is not known".to_owned(),
            errors,
        };
        let told = explained(StatusCode::UNAUTHORIZED, &problem(vec![]));
        assert!(told.contains("the token is not known"), "{told}");
        assert!(told.contains("BELLWETHER_TOKEN"), "{told}");
        let field = FieldProblem {
            field: "models.yaml:3:5".to_owned(),
            cause: "there is no task \"guess\"".to_owned(),
        };
        let told = explained(StatusCode::UNPROCESSABLE_ENTITY, &problem(vec![field]));
        assert!(
            told.ends_with("\n  models.yaml:3:5: there is no task \"guess\""),
            "{told}"
        );
    }

    #[test]
    fn names_are_one_segment_of_the_path_whatever_they_hold() {
        let server = |base: &str| Server {
            http: http(TIME_OUT).expect("set up"),
            base: base.parse().expect("a URL"),
            token: "t".to_owned(),
        };
        for (base, expected) in [
            (
                "http://localhost:8420",
                "http://localhost:8420/api/v1/models/a%2F..%2Fb?x=1%262",
            ),
            (
                "https://example.org/watch/",
                "https://example.org/watch/api/v1/models/a%2F..%2Fb?x=1%262",
            ),
        ] {
            let url = server(base).url(&["models", "a/../b"], &[("x", "1&2")]);
            assert_eq!(url.expect("a URL").as_str(), expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_what_to_do() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = closed.local_addr().expect("an address");
        drop(closed);
        let options = ServerOptions {
            server: format!("http://{address}").parse().expect("a URL"),
            token: Some("t".to_owned()),
        };
        let server = Server::new(&options).expect("set up");
        let error = server
            .post(&["models"], &Value::Null)
            .await
            .expect_err("nobody is there");
        let told = error.to_string();
        assert!(
            told.contains("bellwether serve") && told.contains("--server"),
            "{told}"
        );
    }

    #[test]
    fn without_a_token_it_is_told_where_to_get_one() {
        let options = ServerOptions {
            server: "http://localhost:8420".parse().expect("a URL"),
            token: None,
        };
        let told = Server::new(&options).expect_err("no token").to_string();
        assert!(told.contains("BELLWETHER_TOKEN"), "{told}");
    }
}
