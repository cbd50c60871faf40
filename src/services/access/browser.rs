//! What the API and the pages both have to know about browsers: the session cookie, and how to tell a
//! request of our own pages from one that another site made the browser send. Plain functions on header
//! values, because the two edges may not use each other.

use std::sync::Arc;

use url::Url;

use super::{Session, secrets, sessions};
use crate::services::error::Error;

/// Where browsers reach the service, which decides how its cookie is made and whose requests it accepts.
#[derive(Debug, Clone)]
pub struct Site {
    origin: Arc<str>,
    https: bool,
}

/// What a browser says about where a request comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Provenance<'a> {
    /// The `Host` header, already checked against the hosts the service answers for.
    pub host: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header.
    pub sec_fetch_site: Option<&'a str>,
}

impl Site {
    /// The site at `public_url`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless it is an http or https URL with a host.
    pub fn at(public_url: &str) -> Result<Self, Error> {
        let url = Url::parse(public_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| {
                Error::invalid_field("public_url", "must be like https://bellwether.example.org")
            })?;
        Ok(Self {
            origin: url.origin().ascii_serialization().into(),
            https: url.scheme() == "https",
        })
    }

    /// The name of the session cookie. With https it has the prefix that keeps other hosts of the domain
    /// from setting it; browsers refuse that prefix without https.
    #[must_use]
    pub const fn cookie_name(&self) -> &'static str {
        if self.https {
            "__Host-bellwether"
        } else {
            "bellwether"
        }
    }

    /// The value of the session cookie in a `Cookie` header.
    #[must_use]
    pub fn session_cookie<'h>(&self, cookie_header: &'h str) -> Option<&'h str> {
        cookie_header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.cookie_name())
            .map(|(_, value)| value)
    }

    /// The `Set-Cookie` header that starts a session.
    #[must_use]
    pub fn set_cookie(&self, cookie_value: &str) -> String {
        self.cookie(cookie_value, sessions::LIFETIME.num_seconds())
    }

    /// The `Set-Cookie` header that ends a session.
    #[must_use]
    pub fn clear_cookie(&self) -> String {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, max_age_seconds: i64) -> String {
        let name = self.cookie_name();
        let secure = if self.https { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}")
    }

    /// Whether a request that changes something comes from our own pages, as far as the browser says.
    /// Every current browser sends one of the two headers with such a request; a client that sends neither
    /// is no browser, and nobody can make it send a cookie against its owner's will.
    #[must_use]
    pub fn is_own_request(&self, from: Provenance<'_>) -> bool {
        let site_is_own = from
            .sec_fetch_site
            .is_none_or(|site| matches!(site, "same-origin" | "none"));
        let origin_is_own = from
            .origin
            .is_none_or(|origin| self.is_own_origin(origin, from.host));
        site_is_own && origin_is_own
    }

    /// Ours is the public URL, and also the address under which the browser has just reached us: the
    /// service may be open at `localhost` and at `127.0.0.1` alike.
    fn is_own_origin(&self, origin: &str, host: Option<&str>) -> bool {
        if origin.eq_ignore_ascii_case(&self.origin) {
            return true;
        }
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        let scheme_is_safe = scheme == "https" || (scheme == "http" && !self.https);
        scheme_is_safe && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
    }
}

/// Whether a form or request carries the token of its session.
#[must_use]
pub fn csrf_matches(session: &Session, presented: &str) -> bool {
    secrets::equal(session.csrf_token.as_bytes(), presented.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(public_url: &str) -> Site {
        Site::at(public_url).expect("a good URL")
    }

    #[test]
    fn cookies_are_made_for_the_scheme_of_the_site() {
        assert_eq!(
            site("https://watch.example.org/").set_cookie("v"),
            "__Host-bellwether=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=604800; Secure"
        );
        assert_eq!(
            site("http://localhost:8080").set_cookie("v"),
            "bellwether=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=604800"
        );
        assert_eq!(
            site("http://localhost:8080").clear_cookie(),
            "bellwether=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let https = site("https://watch.example.org");
        for (header, expected) in [
            ("__Host-bellwether=abc", Some("abc")),
            ("a=1; __Host-bellwether=abc; b=2", Some("abc")),
            ("bellwether=abc", None),
            ("x__Host-bellwether=abc", None),
            ("__Host-bellwether", None),
            ("", None),
        ] {
            assert_eq!(https.session_cookie(header), expected, "{header:?}");
        }
    }

    #[test]
    fn addresses_that_are_no_site_are_refused() {
        for url in [
            "",
            "localhost:8080",
            "ftp://example.org",
            "file:///etc",
            "https://",
        ] {
            assert!(Site::at(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn only_requests_of_our_own_pages_are_accepted() {
        let local = "http://localhost:8080";
        let public = "https://watch.example.org";
        let (own, none) = (Some("same-origin"), None);
        #[rustfmt::skip]
        let table = [
            // site, host, origin, sec-fetch-site, accepted
            (local,  Some("localhost:8080"),    Some("http://localhost:8080"),     own,                  true),
            (local,  Some("127.0.0.1:8080"),    Some("http://127.0.0.1:8080"),     own,                  true),
            (local,  Some("localhost:8080"),    Some("http://localhost:9090"),     none,                 false),
            (local,  Some("localhost:8080"),    Some("http://evil.example"),       none,                 false),
            (local,  Some("localhost:8080"),    Some("null"),                      none,                 false),
            (local,  Some("localhost:8080"),    None,                              none,                 true),
            (local,  Some("localhost:8080"),    None,                              Some("none"),         true),
            (local,  Some("localhost:8080"),    None,                              Some("cross-site"),   false),
            (local,  Some("localhost:8080"),    None,                              Some("same-site"),    false),
            (public, Some("bellwether:8080"),   Some("https://watch.example.org"), own,                  true),
            (public, Some("watch.example.org"), Some("http://watch.example.org"),  none,                 false),
            (public, Some("watch.example.org"), Some("https://watch.example.org.evil.example"), none,    false),
            (public, Some("watch.example.org"), Some("https://watch.example.org"), Some("cross-site"),   false),
        ];
        for (public_url, host, origin, sec_fetch_site, accepted) in table {
            let from = Provenance {
                host,
                origin,
                sec_fetch_site,
            };
            assert_eq!(site(public_url).is_own_request(from), accepted, "{from:?}");
        }
    }
}
