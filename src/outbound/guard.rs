//! Which targets a request of ours may have. People who may configure a receiver are not thereby allowed to
//! reach the inside of the operator's network through us; so what is not plainly on the public internet is
//! refused, unless the operator named that host and port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::{Host, Url};

/// Why a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the address is no URL: {0}")]
    NotAUrl(url::ParseError),
    #[error("{0:?} is not allowed in an outbound address, only http and https")]
    Scheme(String),
    #[error("credentials do not belong into an outbound address")]
    Credentials,
    #[error("port {0} is neither 80 nor 443, and the operator has not allowed the host with it")]
    Port(u16),
    #[error("{0:?} is a name of the inside, and the operator has not allowed it")]
    InsideName(String),
    #[error("{0} is not a public address, and the operator has not allowed it")]
    InsideAddress(IpAddr),
    #[error("{0:?} has no address")]
    NoAddress(String),
}

/// A target that the operator allows whatever its address is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: Host<String>,
    port: u16,
}

/// A text that is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form host:port")]
pub struct BadHostPort(pub String);

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadHostPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        Ok(Self {
            host: without_root_dot(Host::parse(host).map_err(|_| bad())?),
            port: port.parse().map_err(|_| bad())?,
        })
    }
}

/// A URL that may be asked for, as far as can be told before its name is looked up.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// Whether the operator named it, so that its addresses are not looked at.
    pub(super) allowed: bool,
}

/// Reads and judges a URL. The `url` crate has already brought decimal, octal, hexadecimal and full-width
/// spellings of an address into one form when we look at it.
pub(super) fn judge(text: &str, allow: &[HostPort]) -> Result<Target, Refusal> {
    let url = Url::parse(text).map_err(Refusal::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::Credentials);
    }
    let host = url
        .host()
        .ok_or(Refusal::NotAUrl(url::ParseError::EmptyHost))?;
    let port = url
        .port_or_known_default()
        .ok_or(Refusal::NotAUrl(url::ParseError::InvalidPort))?;
    let named = HostPort {
        host: without_root_dot(host.to_owned()),
        port,
    };
    let allowed = allow.contains(&named);
    if !allowed {
        if !matches!(port, 80 | 443) {
            return Err(Refusal::Port(port));
        }
        match named.host {
            Host::Ipv4(address) => judge_address(address.into())?,
            Host::Ipv6(address) => judge_address(address.into())?,
            Host::Domain(name) if is_inside_name(&name) => return Err(Refusal::InsideName(name)),
            Host::Domain(_) => {}
        }
    }
    Ok(Target { url, allowed })
}

/// Refuses an address that is not on the public internet.
pub(super) fn judge_address(address: IpAddr) -> Result<(), Refusal> {
    let public = match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    };
    if public {
        Ok(())
    } else {
        Err(Refusal::InsideAddress(address))
    }
}

fn without_root_dot(host: Host<String>) -> Host<String> {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(&name).to_owned()),
        address => address,
    }
}

/// Names that mean the inside wherever they are looked up; others are judged by their addresses.
fn is_inside_name(name: &str) -> bool {
    const INSIDE: [&str; 5] = ["localhost", "local", "internal", "localdomain", "home.arpa"];
    INSIDE.iter().any(|inside| {
        name.strip_suffix(inside)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// IANA's special-purpose registry, and the address at which Azure serves a machine's own metadata.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u32); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        // Multicast, reserved and broadcast.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    !SPECIAL
        .iter()
        .any(|(network, bits)| (address.to_bits() ^ network.to_bits()) >> (32 - bits) == 0)
}

/// Public are the global unicast addresses outside the special blocks, and those that stand for a public
/// IPv4 address by mapping or by the well-known NAT64 prefix.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = || Ipv4Addr::from_bits(u32::from(g) << 16 | u32::from(h));
    match (a, b) {
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => is_public_v4(embedded()),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => is_public_v4(embedded()),
        // IETF protocol assignments (Teredo among them), documentation, 6to4, documentation again.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => false,
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str) -> Result<(), Refusal> {
        judge(url, &[]).map(|_| ())
    }

    fn inside(address: &str) -> Refusal {
        Refusal::InsideAddress(address.parse().expect("an address"))
    }

    #[test]
    fn every_spelling_of_an_inside_address_is_refused() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("１２７.０.０.１", "127.0.0.1"),
            ("127。0。0。1", "127.0.0.1"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("0", "0.0.0.0"),
            ("10.0.0.1", "10.0.0.1"),
            ("172.16.0.1", "172.16.0.1"),
            ("172.31.255.255", "172.31.255.255"),
            ("192.168.1.1", "192.168.1.1"),
            ("100.64.0.1", "100.64.0.1"),
            ("100.127.255.255", "100.127.255.255"),
            ("100.100.100.200", "100.100.100.200"),
            ("169.254.169.254", "169.254.169.254"),
            ("168.63.129.16", "168.63.129.16"),
            ("192.0.0.192", "192.0.0.192"),
            ("198.18.0.1", "198.18.0.1"),
            ("224.0.0.1", "224.0.0.1"),
            ("240.0.0.1", "240.0.0.1"),
            ("255.255.255.255", "255.255.255.255"),
            ("[::]", "::"),
            ("[::1]", "::1"),
            ("[::127.0.0.1]", "::7f00:1"),
            ("[::ffff:127.0.0.1]", "::ffff:7f00:1"),
            ("[::ffff:7f00:1]", "::ffff:7f00:1"),
            ("[::ffff:10.1.2.3]", "::ffff:10.1.2.3"),
            ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1"),
            ("[64:ff9b:1::8.8.8.8]", "64:ff9b:1::808:808"),
            ("[2002:7f00:1::]", "2002:7f00:1::"),
            ("[2001:0:1::1]", "2001:0:1::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[fe80::1]", "fe80::1"),
            ("[fd00::1]", "fd00::1"),
            ("[fd00:ec2::254]", "fd00:ec2::254"),
            ("[ff02::1]", "ff02::1"),
        ] {
            for scheme in ["http", "https"] {
                assert_eq!(
                    verdict(&format!("{scheme}://{host}/")),
                    Err(inside(address)),
                    "{host}"
                );
            }
        }
    }

    #[test]
    fn names_of_the_inside_are_refused() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("LOCALHOST", "localhost"),
            ("localhost.", "localhost"),
            ("ｌｏｃａｌｈｏｓｔ", "localhost"),
            ("db.localhost", "db.localhost"),
            ("metadata.google.internal", "metadata.google.internal"),
            ("metadata.google.internal.", "metadata.google.internal"),
            ("printer.local", "printer.local"),
        ] {
            assert_eq!(
                verdict(&format!("http://{host}/")),
                Err(Refusal::InsideName(name.to_owned())),
                "{host}"
            );
        }
    }

    #[test]
    fn other_schemes_credentials_ports_and_broken_urls_are_refused() {
        for scheme in ["ftp", "file", "gopher", "unix", "ws", "data"] {
            let refused = verdict(&format!("{scheme}://example.org/"));
            assert_eq!(refused, Err(Refusal::Scheme(scheme.to_owned())));
        }
        for url in ["http://user@example.org/", "http://:secret@example.org/"] {
            assert_eq!(verdict(url), Err(Refusal::Credentials), "{url}");
        }
        for port in [22, 25, 5432, 6379, 8080] {
            let refused = verdict(&format!("http://example.org:{port}/"));
            assert_eq!(refused, Err(Refusal::Port(port)));
        }
        for url in [
            "",
            "example.org",
            "//example.org/",
            "http://",
            "http://64:ff9b::7f00:1/",
            "http://[fe80::1%eth0]/",
            "http://exa mple.org/",
            "http://127.0.0.256/",
            "http:///",
        ] {
            assert!(
                matches!(verdict(url), Err(Refusal::NotAUrl(_))),
                "{url}: {:?}",
                verdict(url)
            );
        }
    }

    #[test]
    fn public_targets_are_let_through() {
        for url in [
            "https://example.org/hook?token=1",
            "http://example.org./",
            "https://notlocalhost/",
            "https://internal.example.org/",
            "https://example.org:443/",
            "http://8.8.8.8/",
            "http://[2606:4700::1111]/",
            "http://[::ffff:8.8.8.8]/",
            "http://[64:ff9b::808:808]/",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
            "http://223.255.255.255/",
        ] {
            assert_eq!(verdict(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn operator_allows_one_host_with_one_port() {
        let allow = ["airflow.internal:8080", "127.0.0.1:9000", "[::1]:9000"]
            .map(|text| text.parse::<HostPort>().expect("host and port"));
        for (url, allowed) in [
            ("http://airflow.internal:8080/x", true),
            ("http://AIRFLOW.internal.:8080/x", true),
            ("http://airflow.internal/x", false),
            ("http://airflow.internal:8081/x", false),
            ("http://127.0.0.1:9000/", true),
            ("http://127.1:9000/", true),
            ("http://[::1]:9000/", true),
            ("http://127.0.0.1:9001/", false),
            ("http://127.0.0.2:9000/", false),
            ("ftp://127.0.0.1:9000/", false),
            ("http://user:secret@127.0.0.1:9000/", false),
        ] {
            assert_eq!(judge(url, &allow).is_ok(), allowed, "{url}");
        }
        for text in ["", "host", "host:", "host:0x50", "host:99999", "::1:80"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
