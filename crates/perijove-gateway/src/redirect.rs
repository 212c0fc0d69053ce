//! From plain HTTP to HTTPS.

use std::{fmt::Write, pin::Pin, sync::Arc};

use crate::{Response, Route, Service, ServiceRequest, Target};

impl Route {
    /// Sends everything to the same place under HTTPS, at a port.
    pub fn to_https(port: u16) -> Self {
        Self::new(Target::Service(Arc::new(ToHttps { port })))
    }
}

#[derive(Debug)]
struct ToHttps {
    port: u16,
}

impl Service for ToHttps {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        let location = location(&request.client.host, self.port, request.head.target());
        Box::pin(async move {
            match location {
                Some(location) => Response::redirect(308, &location),
                None => Response::new(400, "text/plain; charset=utf-8", "no host was named\n"),
            }
        })
    }
}

/// 308 keeps method and body; a target that is no path leads to the root.
fn location(host: &str, port: u16, target: &[u8]) -> Option<String> {
    let name = match host.rfind(':') {
        Some(at) if !host.get(at..)?.contains(']') => host.get(..at)?,
        Some(_) | None => host,
    };
    if name.is_empty() {
        return None;
    }
    let mut location = match port {
        443 => format!("https://{name}"),
        port => format!("https://{name}:{port}"),
    };
    // A location is ASCII: other bytes of the target, which browsers may send, are encoded.
    let target = if target.starts_with(b"/") { target } else { b"/" };
    for byte in target {
        match byte {
            b'!'..=b'~' => location.push(char::from(*byte)),
            // Writing to a string does not fail.
            _ => drop(write!(location, "%{byte:02X}")),
        }
    }
    Some(location)
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn the_same_place_by_https() {
        let check = |host, port, target: &str, expected: &str| {
            assert_eq!(location(host, port, target.as_bytes()).as_deref(), Some(expected));
        };
        check("site.example", 443, "/a?b=c", "https://site.example/a?b=c");
        check("site.example:80", 8443, "/", "https://site.example:8443/");
        check("[::1]:80", 443, "/", "https://[::1]/");
        check("[::1]", 443, "/", "https://[::1]/");
        check("site.example", 443, "*", "https://site.example/");
        check("site.example", 443, "/\u{e9}", "https://site.example/%C3%A9");
        assert_eq!(location("", 443, b"/"), None);
    }
}
