//! Which upgrades are asked for, and whether an upstream has agreed to one.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::BytesMut;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::{
    Head, Upgrades,
    proxy::http1::{Malformed, RawHead},
};

/// What is hashed behind the client's key (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgrade that a client asks for and its route allows.
#[derive(Debug)]
pub(in crate::proxy) struct Handshake {
    /// As the client spelled it.
    protocol: Vec<u8>,
    /// Of a websocket: what the upstream must answer.
    accept: Option<String>,
}

/// What an upstream's 101 says.
#[derive(Debug)]
pub(in crate::proxy) struct Switched {
    /// Whether the Connection field names the upgrade.
    is_named: bool,
    protocols: Vec<Vec<u8>>,
    accepts: Vec<Vec<u8>>,
}

impl Handshake {
    /// The upgrade of a request; `None` when it asks for none that is to be joined. Such a request
    /// is forwarded like any other, without its Upgrade field.
    pub(in crate::proxy) fn of(
        head: &Head,
        has_body: bool,
        upgrades: &Upgrades,
    ) -> Option<Box<Self>> {
        let protocol = head.upgrade()?;
        if has_body || *upgrades == Upgrades::Never {
            return None;
        }
        if protocol.eq_ignore_ascii_case(b"websocket") {
            // With two it would be left to chance which one is answered.
            let mut keys = head.get_all("sec-websocket-key").filter(|_| head.method() == "GET");
            let key = keys.next().filter(|_| keys.next().is_none())?;
            let accept = Some(accept(key));
            return Some(Box::new(Self { protocol: protocol.to_vec(), accept }));
        }
        let Upgrades::Also(others) = upgrades else { return None };
        let is_allowed = others.iter().any(|other| protocol.eq_ignore_ascii_case(other.as_bytes()));
        is_allowed.then(|| Box::new(Self { protocol: protocol.to_vec(), accept: None }))
    }

    pub(in crate::proxy) fn protocol(&self) -> &[u8] {
        &self.protocol
    }

    pub(in crate::proxy) fn is_websocket(&self) -> bool {
        self.accept.is_some()
    }

    /// Appends the field that agrees to a websocket.
    pub(in crate::proxy) fn push_accept(&self, block: &mut BytesMut) {
        if let Some(accept) = &self.accept {
            block.extend_from_slice(b"Sec-WebSocket-Accept: ");
            block.extend_from_slice(accept.as_bytes());
            block.extend_from_slice(b"\r\n");
        }
    }

    /// Whether an upstream has agreed to just this upgrade.
    pub(in crate::proxy) fn check(&self, switched: &Switched) -> Result<(), Malformed> {
        if !switched.is_named {
            return Err(Malformed("an upgrade that its Connection field does not name"));
        }
        match &*switched.protocols {
            [protocol] if protocol.eq_ignore_ascii_case(&self.protocol) => {}
            _ => return Err(Malformed("an upgrade to another protocol")),
        }
        match (&self.accept, &*switched.accepts) {
            (None, _) => Ok(()),
            (Some(accept), [accepted]) if accepted == accept.as_bytes() => Ok(()),
            _ => Err(Malformed("a websocket that was not accepted")),
        }
    }
}

impl Switched {
    pub(in crate::proxy) fn read(head: &RawHead<'_>) -> Self {
        let all = |name| head.get_all(name).map(<[u8]>::to_vec).collect();
        Self {
            is_named: head.has_token("connection", "upgrade"),
            protocols: all("upgrade"),
            accepts: all("sec-websocket-accept"),
        }
    }
}

/// What proves that a server has read a client's key.
fn accept(key: &[u8]) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    BASE64_STANDARD.encode(hash.as_ref())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Handshake, Switched};
    use crate::{Head, Upgrades};

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    /// The example of RFC 6455 1.3.
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn handshake(
        start: &str,
        fields: &[&str],
        has_body: bool,
        upgrades: &Upgrades,
    ) -> Option<Box<Handshake>> {
        let head = format!("{start} HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n", fields.join("\r\n"));
        let mut buffer = bytes::BytesMut::from(head.as_str());
        let head = Head::parse(&mut buffer, crate::HeadLimits::default()).unwrap().unwrap();
        Handshake::of(&head, has_body, upgrades)
    }

    #[test]
    fn only_upgrades_that_the_route_allows_are_joined() {
        let others = Upgrades::Also(Arc::new(["custom".to_owned()]));
        let check = |start, fields: &[&str], upgrades: &Upgrades, expected: bool| {
            let handshake = handshake(start, fields, false, upgrades);
            assert_eq!(handshake.is_some(), expected, "{start} {fields:?} {upgrades:?}");
        };
        let websocket = ["Connection: keep-alive, Upgrade", "Upgrade: WebSocket", KEY];
        let custom = ["Connection: upgrade", "Upgrade: custom"];
        check("GET /", &websocket, &Upgrades::Websocket, true);
        check("GET /", &websocket, &others, true);
        check("GET /", &websocket, &Upgrades::Never, false);
        check("POST /", &websocket, &Upgrades::Websocket, false);
        check("GET /", &websocket[..2], &Upgrades::Websocket, false);
        let two = ["Connection: Upgrade", "Upgrade: websocket", KEY, KEY];
        check("GET /", &two, &Upgrades::Websocket, false);
        check("GET /", &websocket[1..], &Upgrades::Websocket, false);
        check("GET /", &["Connection: upgrade", "Upgrade: websocket, custom", KEY], &others, false);
        check("GET /", &custom, &Upgrades::Websocket, false);
        check("GET /", &custom, &others, true);
        check("GET /", &["Connection: upgrade", "Upgrade: h2c"], &others, false);
        assert!(handshake("GET /", &websocket, true, &Upgrades::Websocket).is_none());
    }

    #[test]
    fn an_upstream_must_agree_to_just_what_was_asked_for() {
        let websocket = ["Connection: Upgrade", "Upgrade: websocket", KEY];
        let asked = handshake("GET /", &websocket, false, &Upgrades::Websocket).unwrap();
        let check = |is_named, protocols: &[&str], accepts: &[&str], expected: Result<(), &str>| {
            let all = |values: &[&str]| values.iter().map(|v| v.as_bytes().to_vec()).collect();
            let switched = Switched { is_named, protocols: all(protocols), accepts: all(accepts) };
            assert_eq!(asked.check(&switched).map_err(|error| error.0), expected);
        };
        let (unnamed, other, unaccepted) = (
            Err("an upgrade that its Connection field does not name"),
            Err("an upgrade to another protocol"),
            Err("a websocket that was not accepted"),
        );
        check(true, &["WebSocket"], &[ACCEPT], Ok(()));
        check(false, &["websocket"], &[ACCEPT], unnamed);
        check(true, &["h2c"], &[ACCEPT], other);
        check(true, &[], &[ACCEPT], other);
        check(true, &["websocket", "websocket"], &[ACCEPT], other);
        check(true, &["websocket"], &[], unaccepted);
        check(true, &["websocket"], &["s3pPLMBiTxaQ9kYGzzhZRbK+xOp="], unaccepted);
        check(true, &["websocket"], &[ACCEPT, ACCEPT], unaccepted);
    }
}
