//! Origins of web pages (RFC 6454), as browsers write them.

use std::{fmt, net::IpAddr};

/// Scheme, host and port of a page, in the one spelling that browsers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: &'static str,
    /// In lower case, with its port unless that is the scheme's own.
    host: String,
}

impl Origin {
    /// Reads an origin; `None` for `null` and for whatever is no web origin.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        let (scheme, host) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return None,
        };
        Self::new(scheme, host.strip_suffix('/').unwrap_or(host))
    }

    /// The origin of a scheme and a host with or without port.
    pub(crate) fn new(scheme: &'static str, host: &str) -> Option<Self> {
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if host.is_empty() || host.len() > 260 || !host.bytes().all(is_host) {
            return None;
        }
        let own = if scheme == "https" { ":443" } else { ":80" };
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(own).unwrap_or(&host).to_owned();
        Some(Self { scheme, host })
    }
}

/// Whether a host, with or without a port, can only mean the machine that the browser runs on: no
/// name that somebody else could have bound to its address.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    // RFC 6761 6.3.
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, is_this_machine};

    fn check(text: &str, expected: Option<&str>) {
        let read = Origin::parse(text.as_bytes()).map(|origin| origin.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn origins_have_one_spelling() {
        check("https://Example.com", Some("https://example.com"));
        check("HTTPS://example.com:443", Some("https://example.com"));
        check("http://example.com:80/", Some("http://example.com"));
        check("http://example.com:443", Some("http://example.com:443"));
        check("http://[::1]:8000", Some("http://[::1]:8000"));
        check("null", None);
        check("*", None);
        check("https://", None);
        check("https://a/b", None);
        check("https://user@a", None);
        check("chrome-extension://abc", None);
    }

    #[test]
    fn this_machine_has_few_names() {
        let check = |host, expected| assert_eq!(is_this_machine(host), expected, "{host}");
        check("localhost", true);
        check("LOCALHOST:8000", true);
        check("localhost.", true);
        check("a.localhost:80", true);
        check("127.0.0.1:8000", true);
        check("127.9.9.9", true);
        check("[::1]", true);
        check("[::1]:8000", true);
        check("[::ffff:127.0.0.1]:8000", true);
        check("192.0.2.1:8000", false);
        check("[2001:db8::1]:8000", false);
        check("evil.example:8000", false);
        check("localhost.evil.example", false);
        check("evillocalhost", false);
        check("127.0.0.1.evil.example", false);
        check("", false);
    }
}
