//! Websockets whose handshake somebody on the way has taken apart.
//!
//! A proxy that knows nothing of websockets drops `Upgrade` and `Connection`, which are about one
//! connection, and passes on the `Sec-WebSocket-` fields, which are not.

use std::sync::atomic::{AtomicU64, Ordering};

use perijove_gateway::{Client, Head, Response};

use crate::{clock, pages};

/// Seconds between two lines of the log that say the same.
const PAUSE: u64 = 60;

/// What a handshake lacks; `None` when it is whole, or none at all.
pub(super) fn missing(head: &Head) -> Option<String> {
    let is_handshake = head.get("sec-websocket-key").is_some();
    if !is_handshake || head.upgrade().is_some() || head.version() > 1 {
        return None;
    }
    let has_upgrade = head.get("upgrade").is_some();
    let is_named = |field: &[u8]| {
        String::from_utf8_lossy(field)
            .split(',')
            .any(|part| part.trim().eq_ignore_ascii_case("upgrade"))
    };
    let mut missing = Vec::new();
    if !has_upgrade {
        missing.push("`Upgrade: websocket`");
    }
    if !head.get_all("connection").any(is_named) {
        missing.push("`Connection: upgrade`");
    }
    if head.version() == 0 {
        missing.push("HTTP/1.1");
    }
    Some(if missing.is_empty() { "one `Upgrade`".to_owned() } else { missing.join(" and ") })
}

/// The answer; now and then a line of the log says the same.
pub(super) fn tell(head: &Head, client: &Client, missing: &str) -> Response {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let (now, last) = (clock::now(), LAST.load(Ordering::Relaxed));
    let is_time = now >= last + PAUSE;
    if is_time && LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        tracing::warn!(
            path = %String::from_utf8_lossy(head.path()),
            host = &*client.host,
            missing,
            "a proxy in front takes websockets apart: no kernel can be reached through it; hint: {HINT}",
        );
    }
    pages::stripped(head, missing, HINT)
}

/// For whoever runs the proxy.
const HINT: &str = "in nginx `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                    proxy_set_header Connection $connection_upgrade;` with `map $http_upgrade \
                    $connection_upgrade { default upgrade; '' close; }`; in Apache 2.4.47 or later \
                    `ProxyPass / http://127.0.0.1:8000/ upgrade=websocket`; see docs/guides/domain.md";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: u8, fields: &[(&str, &str)], expected: Option<&str>) {
        let fields: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .chain([(&b"Host"[..], &b"h"[..])])
            .collect();
        let head = Head::from_parts("GET", b"/", &fields).unwrap().with_version(version);
        assert_eq!(missing(&head).as_deref(), expected, "{fields:?}");
    }

    #[test]
    fn what_was_taken_away_is_named() {
        const KEY: (&str, &str) = ("Sec-WebSocket-Key", "x");
        let upgrade = ("Upgrade", "websocket");
        check(1, &[], None);
        check(1, &[upgrade], None);
        check(1, &[KEY, upgrade, ("Connection", "keep-alive, Upgrade")], None);
        check(1, &[KEY], Some("`Upgrade: websocket` and `Connection: upgrade`"));
        check(1, &[KEY, ("Connection", "upgrade")], Some("`Upgrade: websocket`"));
        check(1, &[KEY, upgrade, ("Connection", "close")], Some("`Connection: upgrade`"));
        let old = "`Upgrade: websocket` and `Connection: upgrade` and HTTP/1.1";
        check(0, &[KEY, ("Connection", "close")], Some(old));
        check(2, &[KEY], None);
    }
}
