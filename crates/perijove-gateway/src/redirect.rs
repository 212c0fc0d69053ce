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
        let location = self.location(&request);
        Box::pin(async move {
            match location {
                Some(location) => Response::redirect(308, &location),
                None => Response::new(400, "text/plain; charset=utf-8", "no host was named\n"),
            }
        })
    }
}

impl ToHttps {
    /// 308 keeps method and body; a target that is no path leads to the root.
    fn location(&self, request: &ServiceRequest) -> Option<String> {
        let host = &*request.client.host;
        let name = match host.rfind(':') {
            Some(at) if !host.get(at..)?.contains(']') => host.get(..at)?,
            Some(_) | None => host,
        };
        if name.is_empty() {
            return None;
        }
        let mut location = match self.port {
            443 => format!("https://{name}"),
            port => format!("https://{name}:{port}"),
        };
        // A location is ASCII: other bytes of the target, which browsers may send, are encoded.
        let target =
            if request.head.target().starts_with(b"/") { request.head.target() } else { b"/" };
        for byte in target {
            match byte {
                b'!'..=b'~' => location.push(char::from(*byte)),
                // Writing to a string does not fail.
                _ => drop(write!(location, "%{byte:02X}")),
            }
        }
        Some(location)
    }
}
