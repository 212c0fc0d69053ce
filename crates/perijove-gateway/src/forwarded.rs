//! Where a request comes from: the peer, or whom a trusted peer says it speaks for.

use std::{
    borrow::Cow,
    cell::Cell,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{Client, Head, PeerCredentials, Proven, Scheme};

/// Who stands at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) credentials: Option<PeerCredentials>,
    pub(crate) scheme: Scheme,
    /// The local port; 0 for a Unix socket.
    pub(crate) port: u16,
    /// Its forwarded fields are believed.
    pub(crate) is_trusted: bool,
    /// The host of the last request, as it was named then: mostly that of the next.
    pub(crate) last_host: Arc<str>,
    /// What TLS tells of it.
    pub(crate) proven: Option<Arc<Proven>>,
}

/// Reads an address, or a network as `10.0.0.0/8`.
pub fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(longest);
    (length <= longest).then_some((address, length))
}

/// Whether an address lies in one of the networks. An IPv4 address in IPv6 form is the same.
pub fn contains(networks: &[(IpAddr, u8)], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|(network, prefix)| match (network.to_canonical(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32 - u32::from((*prefix).min(32));
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128 - u32::from((*prefix).min(128));
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    })
}

impl Peer {
    /// The client of a request that came from this peer.
    pub(crate) fn client(&mut self, head: &Head, networks: &[(IpAddr, u8)]) -> Client {
        let told = if self.is_trusted { Told::read(head, networks) } else { Told::default() };
        let host = match told.host {
            Some(host) => self.host(&host),
            None => self.host(head.host().unwrap_or_default()),
        };
        Client {
            address: told.address.or(self.address),
            scheme: told.scheme.unwrap_or(self.scheme),
            host,
            port: self.port,
            peer: self.credentials,
            request_id: told.request_id.unwrap_or_else(request_id),
            trace: None,
            proven: self.proven.clone(),
        }
    }

    fn host(&mut self, host: &str) -> Arc<str> {
        if !self.last_host.eq_ignore_ascii_case(host) {
            self.last_host = host.to_ascii_lowercase().into();
        }
        self.last_host.clone()
    }
}

/// What a trusted peer told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told<'a> {
    address: Option<SocketAddr>,
    scheme: Option<Scheme>,
    host: Option<Cow<'a, str>>,
    request_id: Option<Arc<str>>,
}

impl<'a> Told<'a> {
    /// Proxies that set X-Forwarded-* often pass a client's own Forwarded on, so the former count
    /// when both are there.
    fn read(head: &'a Head, networks: &[(IpAddr, u8)]) -> Self {
        let mut told = Self::read_x(head, networks);
        if told == Self::default() {
            told = Self::read_forwarded(head, networks);
        }
        let id = head.get("x-request-id").and_then(|id| std::str::from_utf8(id).ok());
        told.request_id = id.filter(|id| is_request_id(id)).map(Into::into);
        told
    }

    fn read_x(head: &'a Head, networks: &[(IpAddr, u8)]) -> Self {
        let hops = list(head, "x-forwarded-for");
        let (address, depth) = nearest(hops.iter().rev().map(|hop| node(hop)), networks);
        let schemes = list(head, "x-forwarded-proto");
        let hosts = list(head, "x-forwarded-host");
        let ports = list(head, "x-forwarded-port");
        let scheme = from_right(&schemes, depth).and_then(scheme);
        let host = from_right(&hosts, depth).filter(|host| is_host(host)).map(Cow::Borrowed);
        let port = from_right(&ports, depth).and_then(|port| port.parse::<u16>().ok());
        Self { address, scheme, host: host.map(|h| with_port(h, port, scheme)), request_id: None }
    }

    /// RFC 7239.
    fn read_forwarded(head: &'a Head, networks: &[(IpAddr, u8)]) -> Self {
        let fields = head.get_all("forwarded").filter_map(|field| std::str::from_utf8(field).ok());
        let elements: Vec<_> = fields.flat_map(|field| split_outside_quotes(field, ',')).collect();
        let hop = |element: &&'a str| parameter(element, "for").and_then(|value| node(&value));
        let (address, depth) = nearest(elements.iter().rev().map(hop), networks);
        let element = from_right(&elements, depth).unwrap_or_default();
        Self {
            address,
            scheme: parameter(element, "proto").and_then(|proto| scheme(&proto)),
            host: parameter(element, "host").filter(|host| is_host(host)),
            request_id: None,
        }
    }
}

/// The nearest address that is not a trusted proxy, and how many trusted ones stand before it. An
/// unreadable hop hides those beyond it.
fn nearest(
    hops: impl Iterator<Item = Option<SocketAddr>>,
    networks: &[(IpAddr, u8)],
) -> (Option<SocketAddr>, usize) {
    let mut found = (None, 0);
    for (depth, hop) in hops.enumerate() {
        let Some(address) = hop else { break };
        found = (Some(address), depth);
        if !contains(networks, address.ip()) {
            break;
        }
    }
    found
}

/// The entry that belongs to a hop, counted from the nearest. Most proxies write one entry only.
fn from_right<'a>(entries: &[&'a str], depth: usize) -> Option<&'a str> {
    entries.iter().rev().nth(depth.min(entries.len().saturating_sub(1))).copied()
}

fn list<'a>(head: &'a Head, name: &'static str) -> Vec<&'a str> {
    let fields = head.get_all(name).filter_map(|field| std::str::from_utf8(field).ok());
    fields.flat_map(|field| field.split(',')).map(str::trim).filter(|hop| !hop.is_empty()).collect()
}

fn scheme(text: &str) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(Scheme::Https),
        "http" | "ws" => Some(Scheme::Http),
        _ => None,
    }
}

/// An address with or without port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 0))
}

fn is_host(host: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b".-_~:[]".contains(&b);
    (1..=260).contains(&host.len()) && host.bytes().all(is_part)
}

/// Adds a port that was named beside the host, unless it is the usual one.
fn with_port(host: Cow<'_, str>, port: Option<u16>, scheme: Option<Scheme>) -> Cow<'_, str> {
    let usual = if scheme == Some(Scheme::Https) { 443 } else { 80 };
    let has_port = host.rfind(':').is_some_and(|at| !host.get(at..).unwrap_or("").contains(']'));
    match port {
        Some(port) if port != usual && !has_port => format!("{host}:{port}").into(),
        _ => host,
    }
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

/// The value of a parameter of one element of Forwarded.
fn parameter<'a>(element: &'a str, name: &str) -> Option<Cow<'a, str>> {
    split_outside_quotes(element, ';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let is_named = key.trim().eq_ignore_ascii_case(name);
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        is_named.then(|| match quoted {
            Some(quoted) if quoted.contains('\\') => quoted.replace('\\', "").into(),
            Some(quoted) => quoted.into(),
            None => value.into(),
        })
    })
}

fn is_request_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

thread_local! {
    static NEXT_ID: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A new id: 16 letters and digits that tell nothing and come once only.
pub(crate) fn request_id() -> Arc<str> {
    let next = NEXT_ID.get().unwrap_or_else(|| {
        let mut seed = [0; 8];
        // Without randomness, threads of one process still differ by the address of a variable.
        let fallback = std::ptr::from_ref(&seed).addr() as u64;
        match getrandom::fill(&mut seed) {
            Ok(()) => u64::from_le_bytes(seed),
            Err(_) => fallback ^ crate::clock::unix_seconds(),
        }
    });
    NEXT_ID.set(Some(next.wrapping_add(0x9e37_79b9_7f4a_7c15)));
    // A step of SplitMix64: a bijection, so that ids of one thread cannot meet.
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mixed = mixed ^ (mixed >> 31);
    let mut text = [0_u8; 16];
    for (at, digit) in text.iter_mut().enumerate() {
        let nibble = (mixed >> (60 - 4 * at)) & 0xf;
        *digit = b"0123456789abcdef".get(nibble as usize).copied().unwrap_or(b'0');
    }
    std::str::from_utf8(&text).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Vec<(IpAddr, u8)> {
        vec![("10.0.0.0".parse().unwrap(), 8), ("::1".parse().unwrap(), 128)]
    }

    /// Fields of a trusted peer at 10.0.0.1 over HTTP, and the client they make.
    fn check(fields: &[(&str, &str)], expected: &str) {
        let mut all = vec![(b"Host".as_slice(), b"site.example".as_slice())];
        all.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let head = Head::from_parts("GET", b"/", &all).unwrap();
        let client = peer(true).client(&head, &networks());
        let address = client.address.map(|address| address.to_string()).unwrap_or_default();
        let shown = format!("{} {}://{}", address, client.scheme.as_str(), client.host);
        assert_eq!(shown, expected, "{fields:?}");
    }

    fn peer(is_trusted: bool) -> Peer {
        Peer {
            address: Some("10.0.0.1:5000".parse().unwrap()),
            credentials: None,
            scheme: Scheme::Http,
            port: 8000,
            is_trusted,
            last_host: "".into(),
            proven: None,
        }
    }

    #[test]
    fn trusted_peers_are_believed() {
        check(&[], "10.0.0.1:5000 http://site.example");
        check(&[("X-Forwarded-For", "203.0.113.9")], "203.0.113.9:0 http://site.example");
        check(&[("X-Forwarded-For", "1.2.3.4, 203.0.113.9")], "203.0.113.9:0 http://site.example");
        check(
            &[
                ("X-Forwarded-For", "1.2.3.4, 203.0.113.9, 10.9.9.9"),
                ("X-Forwarded-Proto", "https"),
            ],
            "203.0.113.9:0 https://site.example",
        );
        check(
            &[("X-Forwarded-For", "203.0.113.9, 10.9.9.9"), ("X-Forwarded-Proto", "https, http")],
            "203.0.113.9:0 https://site.example",
        );
        check(&[("X-Forwarded-For", "10.1.1.1, 10.2.2.2")], "10.1.1.1:0 http://site.example");
        check(&[("X-Forwarded-For", "203.0.113.9, unknown")], "10.0.0.1:5000 http://site.example");
        check(&[("X-Forwarded-Host", "Other.Example")], "10.0.0.1:5000 http://other.example");
        check(
            &[
                ("X-Forwarded-Host", "a.example"),
                ("X-Forwarded-Port", "8443"),
                ("X-Forwarded-Proto", "https"),
            ],
            "10.0.0.1:5000 https://a.example:8443",
        );
        check(&[("X-Forwarded-Host", "a b<c")], "10.0.0.1:5000 http://site.example");
    }

    #[test]
    fn forwarded_is_read_when_nothing_else_is_there() {
        check(
            &[(
                "Forwarded",
                "for=1.2.3.4, For=\"[2001:db8::7]:99\";proto=https;host=\"b.example:8443\"",
            )],
            "[2001:db8::7]:99 https://b.example:8443",
        );
        check(
            &[("Forwarded", "for=203.0.113.9;proto=https, for=10.3.3.3;proto=http")],
            "203.0.113.9:0 https://site.example",
        );
        check(
            &[("Forwarded", "for=6.6.6.6;proto=https"), ("X-Forwarded-For", "203.0.113.9")],
            "203.0.113.9:0 http://site.example",
        );
        check(
            &[("Forwarded", "for=\"_hidden, for=\"1.2.3.4")],
            "10.0.0.1:5000 http://site.example",
        );
    }

    #[test]
    fn others_are_not_believed() {
        let fields: [(&[u8], &[u8]); 4] = [
            (b"Host", b"site.example"),
            (b"X-Forwarded-For", b"203.0.113.9"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Request-Id", b"chosen"),
        ];
        let head = Head::from_parts("GET", b"/", &fields).unwrap();
        let client = peer(false).client(&head, &networks());
        assert_eq!(client.address, Some("10.0.0.1:5000".parse().unwrap()));
        assert_eq!(client.scheme, Scheme::Http);
        assert_eq!(client.request_id.len(), 16);
        let believed = peer(true).client(&head, &networks());
        assert_eq!(&*believed.request_id, "chosen");
    }

    #[test]
    fn networks_hold_their_addresses() {
        let check = |network: &str, prefix, address: &str, expected| {
            let networks = [(network.parse().unwrap(), prefix)];
            assert_eq!(contains(&networks, address.parse().unwrap()), expected, "{address}");
        };
        check("10.0.0.0", 8, "10.255.1.1", true);
        check("10.0.0.0", 8, "11.0.0.1", false);
        check("10.0.0.0", 8, "::ffff:10.0.0.1", true);
        check("0.0.0.0", 0, "203.0.113.9", true);
        check("127.0.0.1", 32, "127.0.0.2", false);
        check("2001:db8::", 32, "2001:db8:1::1", true);
        check("2001:db8::", 32, "2001:db9::1", false);
        check("::", 0, "10.0.0.1", false);
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| is_request_id(id)));
    }

    #[test]
    fn networks_are_read() {
        let check = |text: &str, expected: Option<(&str, u8)>| {
            let expected = expected.map(|(address, length)| (address.parse().unwrap(), length));
            assert_eq!(network(text), expected, "{text}");
        };
        check("10.0.0.0/8", Some(("10.0.0.0", 8)));
        check("127.0.0.1", Some(("127.0.0.1", 32)));
        check("::1", Some(("::1", 128)));
        check("10.0.0.0/33", None);
        check("ten", None);
        check("10.0.0.0/", None);
    }
}
