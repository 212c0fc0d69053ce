//! Sends browsers that come by plain HTTP to the same place by HTTPS.

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{Response, Route, Routes, Service, ServiceRequest, Target};

/// Answers every request with its address under `https`.
#[derive(Debug)]
struct ToHttps {
    /// Where HTTPS is served; 443 is not written.
    port: u16,
}

/// Fills the routes of listeners that only redirect, once it is known where to: to the first of
/// these addresses that is HTTPS.
pub(super) fn fill(routes: &Routes, addresses: &[String]) {
    let https = addresses.iter().find_map(|address| address.strip_prefix("https://"));
    let port = https.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    let target = Target::Service(Arc::new(ToHttps { port: port.unwrap_or(443) }));
    routes.insert(None, "/", Route::new(target));
}

impl Service for ToHttps {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        let location = location(&request.client.host, self.port, request.head.target());
        // Browsers may repeat the method and the body, and remember the answer.
        Box::pin(async move { Response::redirect(308, &location) })
    }
}

fn location(host: &str, port: u16, target: &[u8]) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let target = match target {
        [b'/', ..] => String::from_utf8_lossy(target).into_owned(),
        _ => "/".to_owned(),
    };
    format!("https://{name}{port}{target}")
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn the_same_place_by_https() {
        let check = |host, port, target: &str, expected: &str| {
            assert_eq!(location(host, port, target.as_bytes()), expected);
        };
        check("site.example", 443, "/a?b=c", "https://site.example/a?b=c");
        check("site.example:80", 8443, "/", "https://site.example:8443/");
        check("[::1]:80", 443, "/", "https://[::1]/");
        check("[::1]", 443, "/", "https://[::1]/");
        check("site.example", 443, "*", "https://site.example/");
    }
}
