//! What the line of a request looks like.

use std::{io::Write, time::Duration};

use super::LogFormat;
use crate::{Client, Head, clock};

/// What a line tells.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) head: &'a Head,
    pub(super) client: &'a Client,
    pub(super) status: u16,
    /// Of the body.
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Parameters of a query whose values open doors.
const SECRETS: [&[u8]; 8] = [
    b"token",
    b"access_token",
    b"id_token",
    b"ticket",
    b"code",
    b"password",
    b"secret",
    b"signature",
];

pub(super) fn push(out: &mut Vec<u8>, format: LogFormat, facts: &Facts<'_>) {
    match format {
        LogFormat::Text => push_text(out, facts),
        LogFormat::Json => push_json(out, facts),
    }
}

fn push_text(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let Facts { head, client, status, bytes, took } = facts;
    // Writing to a vector does not fail.
    match client.address {
        Some(address) => drop(write!(out, "{}", address.ip().to_canonical())),
        None => out.extend_from_slice(b"unix:"),
    }
    let date = Date::now();
    drop(write!(out, " - - [{}/{}/{}:{} +0000] \"", date.day, date.month, date.year, date.time));
    push_escaped(out, head.method().as_bytes());
    out.push(b' ');
    push_target(out, head.target());
    drop(write!(out, " HTTP/{}\" {status} {bytes} \"", version(head)));
    push_referer(out, head);
    out.extend_from_slice(b"\" \"");
    push_escaped(out, head.get("user-agent").unwrap_or(b"-"));
    drop(writeln!(out, "\" {:.3}ms {}", took.as_secs_f64() * 1000.0, client.request_id));
}

fn push_json(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let Facts { head, client, status, bytes, took } = facts;
    let date = Date::now();
    let mut target = Vec::new();
    push_target(&mut target, head.target());
    let mut referer = Vec::new();
    push_referer(&mut referer, head);
    let text = |bytes: &[u8]| serde_json::Value::from(String::from_utf8_lossy(bytes));
    let line = serde_json::json!({
        "time": format!("{}-{:02}-{}T{}Z", date.year, date.month_number(), date.day, date.time),
        "request_id": &*client.request_id,
        "client": client.address.map(|address| address.ip().to_canonical().to_string()),
        "scheme": client.scheme.as_str(),
        "host": &*client.host,
        "method": head.method(),
        "target": text(&target),
        "version": version(head),
        "status": status,
        "bytes": bytes,
        "milliseconds": (took.as_secs_f64() * 1e6).round() / 1e3,
        "referer": head.get("referer").map(|_| text(&referer)),
        "user_agent": head.get("user-agent").map(text),
    });
    drop(writeln!(out, "{line}"));
}

fn version(head: &Head) -> &'static str {
    match head.version() {
        0 => "1.0",
        1 => "1.1",
        _ => "2.0",
    }
}

/// The address a page was reached from, which may hold secrets in its query too.
fn push_referer(out: &mut Vec<u8>, head: &Head) {
    push_target(out, head.get("referer").unwrap_or(b"-"));
}

/// A target, the secrets in its query left out.
fn push_target(out: &mut Vec<u8>, target: &[u8]) {
    let Some(at) = memchr::memchr(b'?', target) else { return push_escaped(out, target) };
    let (path, query) = target.split_at(at);
    push_escaped(out, path);
    for (index, pair) in query.split(|b| matches!(b, b'?' | b'&')).enumerate().skip(1) {
        out.push(if index == 1 { b'?' } else { b'&' });
        let (name, value) = pair.split_at(memchr::memchr(b'=', pair).unwrap_or(pair.len()));
        push_escaped(out, name);
        if SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            out.extend_from_slice(b"=...");
        } else {
            push_escaped(out, value);
        }
    }
}

/// Bytes that could end the field or the line, or do something to a terminal, as `\x0a`.
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => out.push(*byte),
            _ => {
                drop(write!(out, "\\x{byte:02x}"));
            }
        }
    }
}

/// The time, taken from the form that is kept for the Date field.
struct Date {
    year: String,
    month: String,
    day: String,
    time: String,
}

impl Date {
    fn now() -> Self {
        let mut date = Vec::with_capacity(32);
        clock::push_date(&mut date);
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        let part = |from: usize, to: usize| {
            String::from_utf8_lossy(date.get(from..to).unwrap_or_default()).into_owned()
        };
        Self { day: part(5, 7), month: part(8, 11), year: part(12, 16), time: part(17, 25) }
    }

    fn month_number(&self) -> usize {
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        months.find(&self.month).map_or(0, |at| at / 3 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Scheme;

    fn line(format: LogFormat, target: &str, agent: &[u8]) -> String {
        let fields: [(&[u8], &[u8]); 3] = [
            (b"Host", b"site.example"),
            (b"User-Agent", agent),
            (b"Referer", b"http://r/?ticket=x"),
        ];
        let head = Head::from_parts("GET", target.as_bytes(), &fields).unwrap();
        let client = Client {
            address: Some("203.0.113.9:99".parse().unwrap()),
            scheme: Scheme::Https,
            host: Arc::from("site.example"),
            port: 443,
            peer: None,
            request_id: Arc::from("5ca1ab1e"),
        };
        let took = Duration::from_micros(1500);
        let facts = Facts { head: &head, client: &client, status: 200, bytes: 42, took };
        let mut out = Vec::new();
        push(&mut out, format, &facts);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_of_text() {
        let text = line(LogFormat::Text, "/a?b=1&token=hush&Code=hush&c", b"wget \"x\" \xe9");
        let (before, after) = (text.split_once('[').unwrap(), text.split_once(']').unwrap());
        assert_eq!(before.0, "203.0.113.9 - - ");
        assert_eq!(
            after.1,
            " \"GET /a?b=1&token=...&Code=...&c HTTP/1.1\" 200 42 \"http://r/?ticket=...\" \
             \"wget \\x22x\\x22 \\xe9\" 1.500ms 5ca1ab1e\n"
        );
    }

    #[test]
    fn a_line_of_json() {
        let text = line(LogFormat::Json, "/a?token=hush", b"wget\xff");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["target"], "/a?token=...");
        assert_eq!(value["milliseconds"], 1.5);
        assert_eq!(value["status"], 200);
        assert_eq!(value["time"].as_str().unwrap().len(), "2026-11-20T08:41:33Z".len());
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
        assert!(!text.contains("hush"));
    }
}
