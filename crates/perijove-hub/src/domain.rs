//! The domain that notebooks have to themselves, apart from the site's.
//!
//! What a notebook shows runs as script on its origin. On the site's it could act as its visitor
//! there; on one of its own it cannot, and with an origin for each user not even on their colleagues'.

use std::fmt;

use perijove_gateway::Scheme;
use sha2::{Digest as _, Sha256};

use crate::user::{User, hex};

/// What stands for the user in a domain with one origin for each.
const EACH: &str = "{user}.";
/// Longest label of a domain name (RFC 1035 2.3.4), and longest name.
const LABEL: usize = 63;
const NAME: usize = 253;
/// Of a label that is made for a name: as much of the name as leaves room for the rest.
const HINT: usize = 26;

/// The domain that notebooks have to themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    scheme: Scheme,
    /// In lower case; where each user has a host, what follows their label.
    name: String,
    /// Unless it is the scheme's own.
    port: Option<u16>,
    has_host_for_each: bool,
}

impl Domain {
    /// Reads `https://nb.example.com`, or `{user}.nb.example.com`; without a scheme it is HTTPS.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        const HINT: &str = "for example \"https://nb.example.com\", or \"{user}.nb.example.com\"";
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Https, text),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(_) => return Err(("must begin with https://".to_owned(), HINT)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (has_host_for_each, rest) = match rest.strip_prefix(EACH) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) => {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0);
                (name, Some(port.ok_or_else(|| (format!("{text:?} has no port"), HINT))?))
            }
            None => (rest, None),
        };
        if name.starts_with("*.") {
            let hint = "write `{user}` in place of `*`: each user has the host of their name";
            return Err((format!("{text:?} does not say whose a host is"), hint));
        }
        let is_ip = name.parse::<std::net::Ipv4Addr>().is_ok();
        let longest = if has_host_for_each { NAME - LABEL - 1 } else { NAME };
        if name.len() > longest || !name.split('.').all(is_label) || (is_ip && has_host_for_each) {
            return Err((format!("{text:?} is no domain"), HINT));
        }
        let own = if scheme == Scheme::Https { 443 } else { 80 };
        let port = port.filter(|port| *port != own);
        Ok(Self { scheme, name: name.to_ascii_lowercase(), port, has_host_for_each })
    }

    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether users have an origin each.
    pub fn has_host_for_each(&self) -> bool {
        self.has_host_for_each
    }

    /// The host that certificates are for and routes are at, of whatever user.
    pub fn some_host(&self) -> String {
        if self.has_host_for_each { format!("user.{}", self.name) } else { self.name.clone() }
    }

    /// The name without what stands for the user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hosts as routes have them: `nb.example.com`, `*.nb.example.com`.
    pub(crate) fn hosts(&self) -> String {
        if self.has_host_for_each { format!("*.{}", self.name) } else { self.name.clone() }
    }

    /// All its origins, as policies write them: `https://*.nb.example.com`.
    pub(crate) fn origins(&self) -> String {
        self.origin(&self.hosts())
    }

    /// The host of a user's notebooks, without port.
    pub(crate) fn host_of(&self, user: &User) -> String {
        if self.has_host_for_each {
            format!("{}.{}", label(user), self.name)
        } else {
            self.name.clone()
        }
    }

    /// `https://nb.example.com`
    pub(crate) fn origin_of(&self, user: &User) -> String {
        self.origin(&self.host_of(user))
    }

    /// The origin that a request to one of the hosts is for, whatever it says about its port.
    pub(crate) fn origin_at(&self, host: &str) -> String {
        self.origin(bare(host))
    }

    /// Whether a host that a request names, with or without a port, is that of a user.
    pub(crate) fn is_host_of(&self, user: &User, host: &str) -> bool {
        bare(host).eq_ignore_ascii_case(&self.host_of(user))
    }

    fn origin(&self, host: &str) -> String {
        let scheme = self.scheme.as_str();
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = if self.has_host_for_each { EACH } else { "" };
        f.write_str(&self.origin(&format!("{each}{}", self.name)))
    }
}

/// Without the port, and without the dot that ends a complete name.
pub(crate) fn bare(host: &str) -> &str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name)
}

fn is_label(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=LABEL).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The label that is one user's alone: the name itself where it can be one, else what can be read of
/// it and a hash. Hosts know no case, so a name with a capital is not the one without. No plain name
/// has two hyphens in a row, and every other label has.
fn label(user: &User) -> String {
    let name = user.name();
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_own = is_label(name) && name.bytes().all(is_plain) && !name.contains("--");
    if is_own {
        return name.to_owned();
    }
    let mut hint = String::new();
    for byte in name.bytes().take(HINT) {
        let byte = byte.to_ascii_lowercase();
        let is_gap = !(byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_gap {
            hint.push(char::from(byte));
        } else if !hint.is_empty() && !hint.ends_with('-') {
            hint.push('-');
        }
    }
    let hint = hint.trim_end_matches('-');
    let hash: String = hex(&Sha256::digest(name.as_bytes())).chars().take(32).collect();
    // Not at its beginning: `xn--` means something of its own there.
    format!("u-{}--{hash}", if hint.is_empty() { "x" } else { hint })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn domains_are_read() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let user = User::new("ada").unwrap();
            let read = Domain::parse(text).map(|domain| (domain.origin_of(&user), domain.hosts()));
            let read = read.as_ref().map(|(origin, hosts)| (origin.as_str(), hosts.as_str()));
            match (read, expected) {
                (Err((what, _)), Err(expected)) => assert!(what.contains(expected), "{what}"),
                (read, expected) => assert_eq!(read.ok(), expected.ok(), "{text}"),
            }
        };
        let plain = ("https://nb.example.com", "nb.example.com");
        check("https://nb.example.com", Ok(plain));
        check("https://NB.Example.com:443/", Ok(plain));
        check("nb.example.com", Ok(plain));
        check("http://nb.localhost:8000", Ok(("http://nb.localhost:8000", "nb.localhost")));
        check("http://127.0.0.1:8000", Ok(("http://127.0.0.1:8000", "127.0.0.1")));
        let each = ("https://ada.nb.example.com:8443", "*.nb.example.com");
        check("https://{user}.nb.example.com:8443", Ok(each));
        check("{user}.localhost", Ok(("https://ada.localhost", "*.localhost")));
        check("*.nb.example.com", Err("whose a host is"));
        check("ftp://nb.example.com", Err("https://"));
        check("{user}.127.0.0.1", Err("no domain"));
        for wrong in ["", "https://", "nb.example.com/x", "nb..com", "nb.{user}.com", "a b", "a?b"]
        {
            check(wrong, Err("no domain"));
        }
        check("nb.example.com:x", Err("no port"));
        check("nb.example.com:0", Err("no port"));
        check("{user}", Err("no domain"));
        check(&"a".repeat(64), Err("no domain"));
        check(&format!("{{user}}.{}", ["a".repeat(60).as_str(); 4].join(".")), Err("no domain"));
    }

    #[test]
    fn each_user_has_a_label_of_their_own() {
        let check = |name: &str, expected: &str| {
            let made = label(&User::new(name).unwrap());
            assert!(is_label(&made), "{made}");
            let is_it = match expected.strip_suffix('*') {
                Some(begin) => made.starts_with(begin) && made.len() == begin.len() + 32,
                None => made == expected,
            };
            assert!(is_it, "{name}: {made}, not {expected}");
        };
        check("ada", "ada");
        check("a-1", "a-1");
        check("Ada", "u-ada--*");
        check("ada@example.com", "u-ada-example-com--*");
        check("ada.b", "u-ada-b--*");
        check("-a", "u-a--*");
        check("a-", "u-a--*");
        check("a--b", "u-a-b--*");
        check("xn--p1ai", "u-xn-p1ai--*");
        check("秀樹", "u-x--*");
        check(&"x".repeat(63), &"x".repeat(63));
        check(&"x".repeat(64), &format!("u-{}--*", "x".repeat(26)));
        check("ada_b", "u-ada-b--*");
        let names = ["ada", "Ada", "ADA", "a.b", "a_b", "a-b", "a b", "u-ada", "ä", "ö", "ada "];
        let labels: HashSet<_> = names.map(|name| label(&User::new(name).unwrap())).into();
        assert_eq!(labels.len(), names.len());
        // A name that is spelled as the label of another has another.
        let of_other = label(&User::new("Ada").unwrap());
        assert_ne!(label(&User::new(&of_other).unwrap()), of_other);
    }

    #[test]
    fn a_host_belongs_to_one_user() {
        let ada = User::new("ada").unwrap();
        let each = Domain::parse("{user}.nb.example.com").unwrap();
        let check =
            |host: &str, expected| assert_eq!(each.is_host_of(&ada, host), expected, "{host}");
        check("ada.nb.example.com", true);
        check("ADA.nb.example.com:8443", true);
        check("ada.nb.example.com.", true);
        check("ada.nb.example.com.:443", true);
        check("bob.nb.example.com", false);
        check("x.ada.nb.example.com", false);
        check("nb.example.com", false);
        check("ada.nb.example.com.evil.example", false);
        check("", false);
    }
}
