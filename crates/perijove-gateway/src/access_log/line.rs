//! What the line of a request looks like.

use std::{io::Write, net::IpAddr, time::Duration};

use super::LogFormat;
use crate::{Client, Head, clock, decimal::push_decimal};

/// What a line tells.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) head: &'a Head,
    pub(crate) client: &'a Client,
    pub(crate) status: u16,
    /// Of the body.
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// Until the answer began.
    pub(crate) first: Option<Duration>,
}

/// Ends of the names of parameters in a query whose values open doors: `access_token`,
/// `X-Amz-Signature`, `apikey`.
const SECRETS: [&[u8]; 13] = [
    b"token",
    b"ticket",
    b"password",
    b"passwd",
    b"pwd",
    b"secret",
    b"signature",
    b"credential",
    b"apikey",
    b"api_key",
    b"api-key",
    b"session",
    b"sessionid",
];
/// Such names as a whole: other names may well end so.
const SECRET_NAMES: [&[u8]; 6] = [b"code", b"key", b"sig", b"auth", b"jwt", b"sid"];

/// Whether the value of a parameter opens doors. A name that is encoded where it need not be is hiding
/// something.
fn is_secret(name: &[u8]) -> bool {
    let ends = |end: &[u8]| {
        let start = name.len().checked_sub(end.len());
        start.and_then(|at| name.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    SECRETS.into_iter().any(ends)
        || SECRET_NAMES.into_iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.contains(&b'%') && is_encoded_letter(name)
}

/// Whether a letter stands there as `%6b`.
fn is_encoded_letter(name: &[u8]) -> bool {
    name.windows(3).any(|three| {
        let [b'%', high, low] = three else { return false };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = digit(*high).zip(digit(*low)).and_then(|(h, l)| u8::try_from(h << 4 | l).ok());
        byte.is_some_and(|byte| byte.is_ascii_alphabetic())
    })
}

pub(super) fn push(out: &mut Vec<u8>, format: &LogFormat, facts: &Facts<'_>) {
    match format {
        LogFormat::Text => push_text(out, facts),
        LogFormat::Common => push_common(out, facts),
        LogFormat::Combined => push_combined(out, facts),
        LogFormat::Json => return push_json(out, facts),
        LogFormat::Template(template) => template.push(out, facts),
    }
    out.push(b'\n');
}

/// Says in the log of the program that a request took long.
pub(crate) fn tell_slow(facts: &Facts<'_>) {
    let Facts { head, client, status, took, first, .. } = facts;
    let mut target = Vec::new();
    push_target(&mut target, head.target());
    tracing::warn!(
        request_id = &*client.request_id,
        trace_id = client.trace.as_ref().map(|trace| tracing::field::display(trace.trace_id)),
        method = head.method(),
        // The log calls something else its target.
        url = %String::from_utf8_lossy(&target),
        status,
        milliseconds = milliseconds(*took),
        first_byte = first.map(milliseconds),
        "a slow request"
    );
}

/// To a microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn push_common(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let Facts { head, client, status, bytes, .. } = facts;
    push_address(out, client);
    out.extend_from_slice(b" - - [");
    clock::push_log_date(out);
    out.extend_from_slice(b"] \"");
    push_request_line(out, head);
    out.extend_from_slice(b"\" ");
    push_decimal(out, u64::from(*status));
    out.push(b' ');
    push_decimal(out, *bytes);
}

pub(super) fn push_request_line(out: &mut Vec<u8>, head: &Head) {
    if head.method().is_empty() {
        // It could not be read.
        return out.push(b'-');
    }
    push_escaped(out, head.method().as_bytes());
    out.push(b' ');
    push_target(out, head.target());
    out.extend_from_slice(b" HTTP/");
    out.extend_from_slice(head.version_text().as_bytes());
}

fn push_combined(out: &mut Vec<u8>, facts: &Facts<'_>) {
    push_common(out, facts);
    out.extend_from_slice(b" \"");
    push_referer(out, facts.head);
    out.extend_from_slice(b"\" \"");
    push_escaped(out, facts.head.get("user-agent").unwrap_or(b"-"));
    out.push(b'"');
}

fn push_text(out: &mut Vec<u8>, facts: &Facts<'_>) {
    push_combined(out, facts);
    out.push(b' ');
    push_milliseconds(out, facts.took);
    out.extend_from_slice(b"ms ");
    out.extend_from_slice(facts.client.request_id.as_bytes());
    if let Some(trace) = &facts.client.trace {
        // Writing to a vector does not fail.
        drop(write!(out, " trace={}", trace.trace_id));
    }
}

pub(super) fn push_address(out: &mut Vec<u8>, client: &Client) {
    match client.address.map(|address| address.ip().to_canonical()) {
        Some(IpAddr::V4(address)) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                push_decimal(out, u64::from(octet));
            }
        }
        // Writing to a vector does not fail.
        Some(address) => drop(write!(out, "{address}")),
        None => out.extend_from_slice(b"unix:"),
    }
}

/// As in `1.500`.
pub(super) fn push_milliseconds(out: &mut Vec<u8>, took: Duration) {
    let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    push_decimal(out, microseconds / 1000);
    out.push(b'.');
    let rest = microseconds % 1000;
    for digit in [rest / 100, rest / 10 % 10, rest % 10] {
        push_decimal(out, digit);
    }
}

fn push_json(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let Facts { head, client, status, bytes, took, first } = facts;
    let mut target = Vec::new();
    push_target(&mut target, head.target());
    let mut referer = Vec::new();
    push_referer(&mut referer, head);
    let text = |bytes: &[u8]| serde_json::Value::from(String::from_utf8_lossy(bytes));
    let mut line = serde_json::json!({
        "time": iso_date(),
        "request_id": &*client.request_id,
        "client": client.address.map(|address| address.ip().to_canonical().to_string()),
        "scheme": client.scheme.as_str(),
        "host": &*client.host,
        "method": head.method(),
        "target": text(&target),
        "version": head.version_text(),
        "status": status,
        "bytes": bytes,
        "milliseconds": milliseconds(*took),
        "first_byte": first.map(milliseconds),
        "referer": head.get("referer").map(|_| text(&referer)),
        "user_agent": head.get("user-agent").map(text),
    });
    if let (Some(trace), Some(line)) = (&client.trace, line.as_object_mut()) {
        line.insert("trace_id".to_owned(), trace.trace_id.to_string().into());
    }
    drop(writeln!(out, "{line}"));
}

/// The address a page was reached from, which may hold secrets in its query too.
pub(super) fn push_referer(out: &mut Vec<u8>, head: &Head) {
    push_target(out, head.get("referer").unwrap_or(b"-"));
}

/// A target, the secrets in its query left out.
pub(super) fn push_target(out: &mut Vec<u8>, target: &[u8]) {
    let Some(at) = memchr::memchr(b'?', target) else { return push_escaped(out, target) };
    let (path, query) = target.split_at(at);
    push_escaped(out, path);
    for (index, pair) in query.split(|b| matches!(b, b'?' | b'&')).enumerate().skip(1) {
        out.push(if index == 1 { b'?' } else { b'&' });
        let (name, value) = pair.split_at(memchr::memchr(b'=', pair).unwrap_or(pair.len()));
        push_escaped(out, name);
        if !value.is_empty() && is_secret(name) {
            out.extend_from_slice(b"=...");
        } else {
            push_escaped(out, value);
        }
    }
}

/// Bytes that could end the field or the line, or do something to a terminal, as `\x0a`.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' if !matches!(byte, b'"' | b'\\'));
    if text.iter().all(is_plain) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        if is_plain(byte) {
            out.push(*byte);
        } else {
            drop(write!(out, "\\x{byte:02x}"));
        }
    }
}

/// The time as `1994-11-06T08:49:37Z`.
pub(super) fn iso_date() -> Option<String> {
    let mut date = Vec::with_capacity(32);
    clock::push_log_date(&mut date);
    let date = std::str::from_utf8(&date).ok()?;
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(date.get(3..6)?)? / 3 + 1;
    let (day, year, time) = (date.get(..2)?, date.get(7..11)?, date.get(12..20)?);
    Some(format!("{year}-{month:02}-{day}T{time}Z"))
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
            trace: None,
            proven: None,
        };
        let took = Duration::from_micros(1500);
        let first = Some(Duration::from_micros(1250));
        let facts = Facts { head: &head, client: &client, status: 200, bytes: 42, took, first };
        let mut out = Vec::new();
        push(&mut out, &format, &facts);
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
    fn what_opens_doors_is_left_out() {
        let check = |query: &str, expected: &str| {
            let mut out = Vec::new();
            push_target(&mut out, format!("/?{query}").as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), format!("/?{expected}"));
        };
        check("access_token=x&X-Amz-Signature=y", "access_token=...&X-Amz-Signature=...");
        check("PASSWORD=x&client_secret=y&api_key=z", "PASSWORD=...&client_secret=...&api_key=...");
        check("key=x&monkey=y&code=z&zipcode=8", "key=...&monkey=y&code=...&zipcode=8");
        check("tok%65n=x&a%20b=y", "tok%65n=...&a%20b=y");
        check("token&token=&x=token", "token&token=...&x=token");
    }

    #[test]
    fn lines_of_other_servers() {
        let line = |format| line(format, "/a", b"wget");
        let check = |format, expected: &str| {
            let line: String = line(format);
            let (before, after) = (line.split_once('[').unwrap(), line.split_once(']').unwrap());
            assert_eq!(format!("{}[]{}", before.0, after.1), expected);
        };
        let common = "203.0.113.9 - - [] \"GET /a HTTP/1.1\" 200 42";
        check(LogFormat::Common, &format!("{common}\n"));
        check(LogFormat::Combined, &format!("{common} \"http://r/?ticket=...\" \"wget\"\n"));
    }

    /// Programs read these: a name that changes is a change for them.
    #[test]
    fn the_fields_of_json_are_these() {
        let text = line(LogFormat::Json, "/a?token=hush", b"wget");
        let time = text.split('"').skip_while(|part| *part != "time").nth(2).unwrap().to_owned();
        let text = text.replace(&time, "[time]").replace(',', ",\n");
        insta::assert_snapshot!(text.trim_end(), @r#"
        {"bytes":42,
        "client":"203.0.113.9",
        "first_byte":1.25,
        "host":"site.example",
        "method":"GET",
        "milliseconds":1.5,
        "referer":"http://r/?ticket=...",
        "request_id":"5ca1ab1e",
        "scheme":"https",
        "status":200,
        "target":"/a?token=...",
        "time":"[time]",
        "user_agent":"wget",
        "version":"1.1"}
        "#);
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
