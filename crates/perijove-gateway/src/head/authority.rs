//! The authority of a request: a host, and perhaps a port.

use std::net::Ipv6Addr;

use super::HeadError;

/// `host` or `host:port` (RFC 3986 3.2.2), without what no honest client sends: user names,
/// percent-encoding, delimiters, an empty host or an empty port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
    default_port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, HeadError> {
        Self::read(text).ok_or(HeadError::Malformed("the Host"))
    }

    fn read(text: &'a [u8]) -> Option<Self> {
        let colon = text.iter().rposition(|b| *b == b':');
        let (host, port) = match (text.last()?, colon) {
            // The colons of an address in brackets stand before the bracket.
            (b']', _) | (_, None) => (text, None),
            (_, Some(at)) => (text.get(..at)?, Some(port(text.get(at + 1..)?)?)),
        };
        let is_valid = match host.strip_prefix(b"[") {
            Some(rest) => is_ipv6(rest.strip_suffix(b"]")?),
            None => !host.is_empty() && host.len() <= 255 && host.iter().all(|b| is_name(*b)),
        };
        is_valid.then_some(Self { host, port, default_port: None })
    }

    /// What no port means.
    pub(super) fn with_default_port(self, port: u16) -> Self {
        Self { default_port: Some(port), ..self }
    }

    /// Whether both name the same host and port.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let default = self.default_port.or(other.default_port);
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default) == other.port.or(default)
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn port(digits: &[u8]) -> Option<u16> {
    let is_number = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}
