//! What every answer carries, of the API and of the pages alike: headers that keep browsers from doing more
//! than the pages need, and a request id. And what every request must carry: a host the service answers
//! for. Without that check a hostile page could give its own name the address of this service and read the
//! answers as its own (DNS rebinding); listening on loopback is no protection from that.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use url::Url;

use crate::services::request_id;

/// The header with the id of a request, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// The hosts the service answers for: the public one, those the settings add, `localhost`, and every
/// address given as numbers, because rebinding needs a name.
#[derive(Debug, Clone)]
pub struct AllowedHosts(Arc<[String]>);

impl AllowedHosts {
    /// The host of `public_url` and the names in `also`. An entry may carry a port; ports are not compared.
    pub fn new<'a>(public_url: &str, also: impl IntoIterator<Item = &'a str>) -> Self {
        let public = Url::parse(public_url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_lowercase));
        Self(
            also.into_iter()
                .map(|host| name_of(host).to_lowercase())
                .chain(public)
                .chain(["localhost".to_owned()])
                .collect(),
        )
    }

    fn answer_for(&self, host: &str) -> bool {
        let name = name_of(host).to_lowercase();
        self.0.contains(&name) || is_address(&name)
    }
}

/// The host without its port and without the dot that ends a full name.
fn name_of(host: &str) -> &str {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    host.strip_suffix('.').unwrap_or(host)
}

fn is_address(name: &str) -> bool {
    let in_brackets = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match in_brackets {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Guards how everything is answered.
pub async fn guard<A: Future<Output = Response>>(
    hosts: &AllowedHosts,
    request: Request,
    answer: impl FnOnce(Request) -> A,
) -> Response {
    let presented = request.headers().get(REQUEST_ID);
    let id = request_id::accept_or_make(presented.and_then(|value| value.to_str().ok()));
    let mut response = match misdirected(hosts, &request) {
        Some(refusal) => refusal,
        None => request_id::scope(id.clone(), answer(request)).await,
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    set_request_id(headers, &id);
    // Answers depend on who asks; only what says otherwise, such as a style sheet, may be kept.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn set_request_id(headers: &mut HeaderMap, id: &str) {
    let value =
        HeaderValue::from_str(id).expect("request ids are letters, digits, dashes and dots");
    headers.insert(REQUEST_ID, value);
}

/// The refusal of a request for a host that is not ours, or for none. The host is in the request target
/// (HTTP/2), in the `Host` header, or in both; then both must be ours.
fn misdirected(hosts: &AllowedHosts, request: &Request) -> Option<Response> {
    let target = request.uri().authority().map(Authority::as_str);
    let headers = request.headers().get_all(HOST).iter();
    let named: Vec<&str> = headers
        .map(|host| host.to_str().unwrap_or_default())
        .chain(target)
        .collect();
    let foreign = match named.iter().find(|host| !hosts.answer_for(host)) {
        Some(foreign) => *foreign,
        None if named.is_empty() => "",
        None => return None,
    };
    tracing::warn!(host = foreign, "request for a foreign host refused");
    let told = format!(
        "This service does not answer for the host {foreign:?}.\n\
         If it should, set the public URL to that host or add it to the allowed hosts in the settings.\n"
    );
    Some((StatusCode::MISDIRECTED_REQUEST, told).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::extract::State;
    use axum::middleware::{Next, from_fn_with_state};
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    fn app() -> Router {
        async fn guarded(hosts: State<AllowedHosts>, request: Request, next: Next) -> Response {
            guard(&hosts, request, |request| next.run(request)).await
        }
        let hosts = AllowedHosts::new("https://watch.example.org", ["bellwether:8080"]);
        Router::new()
            .route("/", get(async || request_id::current()))
            .route("/kept", get(async || ([(CACHE_CONTROL, "max-age=60")], "")))
            .layer(from_fn_with_state(hosts, guarded))
    }

    async fn answer(request: axum::http::request::Builder) -> Response {
        let request = request.body(Body::empty()).expect("a request");
        app().oneshot(request).await.expect("an answer")
    }

    async fn text(response: Response) -> String {
        let bytes = response.into_body().collect().await.expect("a body");
        String::from_utf8(bytes.to_bytes().into()).expect("text")
    }

    #[tokio::test]
    async fn only_known_hosts_and_plain_addresses_are_answered() {
        for (host, status) in [
            ("watch.example.org", 200),
            ("WATCH.example.org:443", 200),
            ("watch.example.org.", 200),
            ("bellwether:9999", 200),
            ("localhost:8080", 200),
            ("127.0.0.1:8080", 200),
            ("[::1]:8080", 200),
            ("10.1.2.3", 200),
            ("evil.example", 421),
            ("evil.example:8080", 421),
            ("watch.example.org.evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.nip.io", 421),
            ("[::1", 421),
            ("localhost:80:80", 421),
            ("user@localhost", 421),
            ("", 421),
        ] {
            let response = answer(Request::get("/").header(HOST, host)).await;
            assert_eq!(response.status().as_u16(), status, "{host:?}");
        }
        assert_eq!(answer(Request::get("/")).await.status(), 421, "no host");
    }

    #[tokio::test]
    async fn a_foreign_host_in_the_target_or_a_second_header_is_refused() {
        let in_target = Request::get("http://evil.example/").header(HOST, "localhost");
        assert_eq!(answer(in_target).await.status(), 421);
        let twice = Request::get("/")
            .header(HOST, "localhost")
            .header(HOST, "evil.example");
        assert_eq!(answer(twice).await.status(), 421);
        let target_only = Request::get("https://watch.example.org/");
        assert_eq!(answer(target_only).await.status(), 200);
    }

    #[tokio::test]
    async fn a_refused_host_is_told_what_to_do() {
        let response = answer(Request::get("/").header(HOST, "evil.example")).await;
        assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
        let told = text(response).await;
        assert!(told.contains("\"evil.example\""), "{told}");
        assert!(told.contains("allowed hosts"), "{told}");
    }

    #[tokio::test]
    async fn every_answer_carries_the_security_headers() {
        for path in ["/", "/nowhere"] {
            let response = answer(Request::get(path).header(HOST, "localhost")).await;
            for (name, value) in SECURITY_HEADERS {
                assert_eq!(response.headers()[&name], value, "{path}");
            }
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        }
        let response = answer(Request::get("/kept").header(HOST, "localhost")).await;
        assert_eq!(response.headers()[CACHE_CONTROL], "max-age=60");
    }

    #[tokio::test]
    async fn the_request_id_is_the_same_in_the_answer_and_inside() {
        let sane = answer(
            Request::get("/")
                .header(HOST, "localhost")
                .header(REQUEST_ID, "trace-0123456789"),
        )
        .await;
        assert_eq!(sane.headers()[REQUEST_ID], "trace-0123456789");
        assert_eq!(text(sane).await, "trace-0123456789");

        let hostile = answer(
            Request::get("/")
                .header(HOST, "localhost")
                .header(REQUEST_ID, "\"><script>"),
        )
        .await;
        let id = hostile.headers()[REQUEST_ID]
            .to_str()
            .expect("text")
            .to_owned();
        assert_eq!(id.len(), 20);
        assert_eq!(text(hostile).await, id);
    }
}
