//! What an upstream is told about the client.

use std::{io::Write, net::IpAddr};

use crate::{Client, Scheme};

/// Appends Forwarded (RFC 7239), its older relatives, and the id of the request.
pub(in crate::proxy) fn push_forwarded(client: &Client, out: &mut Vec<u8>) {
    let address = client.address.map(|address| address.ip().to_canonical());
    let scheme = client.scheme.as_str();
    let host = if client.host.bytes().all(is_host) { &*client.host } else { "" };
    let port = port(host).unwrap_or(match client.scheme {
        Scheme::Http => "80",
        Scheme::Https => "443",
    });
    out.extend_from_slice(b"Forwarded: for=");
    // Where the address stands in `out`: written once, copied then.
    let start = out.len() + if matches!(address, Some(IpAddr::V6(_))) { 2 } else { 0 };
    // Writing to a `Vec` cannot fail.
    drop(match address {
        Some(IpAddr::V4(ip)) => write!(out, "{ip}"),
        Some(IpAddr::V6(ip)) => write!(out, "\"[{ip}"),
        None => out.write_all(b"unknown"),
    });
    let end = out.len();
    if matches!(address, Some(IpAddr::V6(_))) {
        out.extend_from_slice(b"]\"");
    }
    for part in [";host=\"", host, "\";proto=", scheme, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if address.is_some() {
        for name in ["X-Forwarded-For: ", "X-Real-IP: "] {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_within(start..end);
            out.extend_from_slice(b"\r\n");
        }
    }
    for (name, value) in [
        ("X-Forwarded-Proto: ", scheme),
        ("X-Forwarded-Host: ", host),
        ("X-Forwarded-Port: ", port),
        ("X-Request-Id: ", &client.request_id),
    ] {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte)
}

/// The port that a host names.
fn port(host: &str) -> Option<&str> {
    let (_, port) = host.rsplit_once(':')?;
    (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(port)
}
