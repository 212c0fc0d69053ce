//! Formats that somebody wrote: named fields in braces, or Apache's directives.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

use super::line::{
    Facts, iso_date, push_address, push_escaped, push_milliseconds, push_referer,
    push_request_line, push_target,
};
use crate::{clock, decimal::push_decimal};

/// A line with fields to fill in.
///
/// With a `%` in it, it is read as Apache's `LogFormat` is (`%h %>s %{Referer}i`), else fields stand
/// by name in braces (`{client} {status}`), and `{{` is a brace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTemplate {
    pieces: Vec<Piece>,
}

/// Why a format cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("there is no field {name:?}")]
    UnknownField { name: String },
    #[error("{name} would put a secret into the log")]
    Secret { name: String },
    #[error("a brace is not closed")]
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Field(Field),
    /// A field of the request's header.
    Header(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Time,
    IsoTime,
    Client,
    Scheme,
    Host,
    Method,
    Target,
    Path,
    Request,
    Protocol,
    Status,
    Bytes,
    /// 0 bytes are written as a dash.
    BytesOrDash,
    Seconds,
    Milliseconds,
    Microseconds,
    FirstByte,
    Referer,
    UserAgent,
    RequestId,
    TraceId,
    Nothing,
}

/// Every field that can be named.
const FIELDS: [(&str, Field); 19] = [
    ("time", Field::Time),
    ("iso_time", Field::IsoTime),
    ("client", Field::Client),
    ("scheme", Field::Scheme),
    ("host", Field::Host),
    ("method", Field::Method),
    ("target", Field::Target),
    ("path", Field::Path),
    ("request", Field::Request),
    ("protocol", Field::Protocol),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("milliseconds", Field::Milliseconds),
    ("microseconds", Field::Microseconds),
    ("first_byte", Field::FirstByte),
    ("referer", Field::Referer),
    ("user_agent", Field::UserAgent),
    ("request_id", Field::RequestId),
    ("trace_id", Field::TraceId),
];

/// Header fields that open doors.
const SECRETS: [&str; 6] =
    ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token", "x-csrf-token"];

impl LogTemplate {
    /// The names that may stand in braces, beside `header:NAME`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|(name, _)| *name)
    }

    pub(super) fn push(&self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Field(field) => field.push(out, facts),
                Piece::Header(name) => {
                    push_escaped(out, facts.head.get(name).unwrap_or(b"-"));
                }
            }
        }
    }

    fn by_names(text: &str) -> Result<Vec<Piece>, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            push_text(&mut pieces, &before.replace("}}", "}"));
            if let Some(after) = after.strip_prefix('{') {
                push_text(&mut pieces, "{");
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
            pieces.push(named(name)?);
            rest = after;
        }
        push_text(&mut pieces, &rest.replace("}}", "}"));
        Ok(pieces)
    }

    /// <https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats>
    fn by_directives(text: &str) -> Result<Vec<Piece>, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            push_text(&mut pieces, before);
            // Conditions on the status, and "before" or "after" an internal redirect.
            let after = after.trim_start_matches(|c: char| "<>!,0123456789".contains(c));
            let (argument, after) = match after.strip_prefix('{') {
                Some(after) => after.split_once('}').ok_or(TemplateError::Open)?,
                None => ("", after),
            };
            let mut letters = after.chars();
            let letter = letters.next().ok_or(TemplateError::Open)?;
            pieces.push(directive(argument, letter)?);
            rest = letters.as_str();
        }
        push_text(&mut pieces, rest);
        Ok(pieces)
    }
}

impl FromStr for LogTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let pieces =
            if text.contains('%') { Self::by_directives(text)? } else { Self::by_names(text)? };
        Ok(Self { pieces })
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.replace("\\t", "\t").into_bytes().into()));
    }
}

fn named(name: &str) -> Result<Piece, TemplateError> {
    if let Some(header) = name.strip_prefix("header:") {
        return self::header(header);
    }
    let found = FIELDS.iter().find(|(known, _)| *known == name);
    let unknown = || TemplateError::UnknownField { name: name.to_owned() };
    found.map(|(_, field)| Piece::Field(*field)).ok_or_else(unknown)
}

fn header(name: &str) -> Result<Piece, TemplateError> {
    let name = name.trim().to_ascii_lowercase();
    if SECRETS.contains(&&*name) {
        return Err(TemplateError::Secret { name });
    }
    Ok(match &*name {
        // What may hold secrets is written without them.
        "referer" => Piece::Field(Field::Referer),
        _ => Piece::Header(name.into()),
    })
}

fn directive(argument: &str, letter: char) -> Result<Piece, TemplateError> {
    let unknown = || {
        let argument = if argument.is_empty() { String::new() } else { format!("{{{argument}}}") };
        TemplateError::UnknownField { name: format!("%{argument}{letter}") }
    };
    Ok(Piece::Field(match (letter, argument) {
        ('%', "") => return Ok(Piece::Text(b"%".as_slice().into())),
        ('i', name) if !name.is_empty() => return header(name),
        ('h' | 'a', "" | "c") => Field::Client,
        ('l' | 'u', "") => Field::Nothing,
        ('t', "") => Field::Time,
        ('r', "") => Field::Request,
        ('s', "") => Field::Status,
        ('b', "") => Field::BytesOrDash,
        ('B', "") => Field::Bytes,
        ('D', "") | ('T', "us") => Field::Microseconds,
        ('T', "ms") => Field::Milliseconds,
        ('T', "" | "s") => Field::Seconds,
        ('m', "") => Field::Method,
        ('U', "") => Field::Path,
        ('H', "") => Field::Protocol,
        ('v' | 'V', "") => Field::Host,
        ('L', "") => Field::RequestId,
        _ => return Err(unknown()),
    }))
}

impl Field {
    fn push(self, out: &mut Vec<u8>, facts: &Facts<'_>) {
        let Facts { head, client, status, bytes, took, first } = facts;
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        match self {
            Self::Time => {
                out.push(b'[');
                clock::push_log_date(out);
                out.push(b']');
            }
            Self::IsoTime => out.extend_from_slice(iso_date().unwrap_or_default().as_bytes()),
            Self::Client => push_address(out, client),
            Self::Scheme => out.extend_from_slice(client.scheme.as_str().as_bytes()),
            Self::Host => push_escaped(out, client.host.as_bytes()),
            Self::Method => push_escaped(out, head.method().as_bytes()),
            Self::Target => push_target(out, head.target()),
            Self::Path => push_escaped(out, head.path()),
            Self::Request => push_request_line(out, head),
            Self::Protocol => {
                out.extend_from_slice(b"HTTP/");
                out.extend_from_slice(head.version_text().as_bytes());
            }
            Self::Status => push_decimal(out, u64::from(*status)),
            Self::BytesOrDash if *bytes == 0 => out.push(b'-'),
            Self::Bytes | Self::BytesOrDash => push_decimal(out, *bytes),
            Self::Seconds => push_decimal(out, took.as_secs()),
            Self::Milliseconds => push_milliseconds(out, *took),
            Self::Microseconds => push_decimal(out, microseconds(*took)),
            Self::FirstByte => match first {
                Some(first) => push_milliseconds(out, *first),
                None => out.push(b'-'),
            },
            Self::Referer => push_referer(out, head),
            Self::UserAgent => push_escaped(out, head.get("user-agent").unwrap_or(b"-")),
            Self::RequestId => out.extend_from_slice(client.request_id.as_bytes()),
            Self::TraceId => match &client.trace {
                Some(trace) => out.extend_from_slice(trace.trace_id.to_string().as_bytes()),
                None => out.push(b'-'),
            },
            Self::Nothing => out.push(b'-'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Head, Scheme};

    fn check(format: &str, expected: &str) {
        let fields: [(&[u8], &[u8]); 3] =
            [(b"Host", b"a"), (b"User-Agent", b"wget"), (b"X-Team", b"blue \"one\"")];
        let head = Head::from_parts("GET", b"/p?token=hush&a=1", &fields).unwrap();
        let client = Client {
            address: Some("203.0.113.9:99".parse().unwrap()),
            scheme: Scheme::Https,
            host: "site.example".into(),
            port: 443,
            peer: None,
            request_id: "5ca1ab1e".into(),
            proven: None,
            trace: None,
        };
        let facts = Facts {
            head: &head,
            client: &client,
            status: 404,
            bytes: 0,
            took: Duration::from_micros(2_001_500),
            first: Some(Duration::from_micros(250)),
        };
        let mut out = Vec::new();
        format.parse::<LogTemplate>().unwrap().push(&mut out, &facts);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
    }

    #[test]
    fn fields_stand_by_name() {
        check("{client} {method} {path} {status}", "203.0.113.9 GET /p 404");
        check("{target}|{request}", "/p?token=...&a=1|GET /p?token=...&a=1 HTTP/1.1");
        check("{milliseconds} {microseconds} {first_byte}", "2001.500 2001500 0.250");
        check("{header:X-Team} {header:X-None}", "blue \\x22one\\x22 -");
        check("{{{scheme}}} {request_id} {trace_id}", "{https} 5ca1ab1e -");
        check("a {bytes}\\t{host} {user_agent} {protocol}", "a 0\tsite.example wget HTTP/1.1");
    }

    #[test]
    fn directives_of_apache_are_known() {
        check("%h %l %u \"%r\" %>s %b", "203.0.113.9 - - \"GET /p?token=...&a=1 HTTP/1.1\" 404 -");
        check(
            "%D %T %{ms}T %B %m %U %H %v 100%%",
            "2001500 2 2001.500 0 GET /p HTTP/1.1 site.example 100%",
        );
        check("\"%{Referer}i\" \"%{User-Agent}i\" %{X-Team}i", "\"-\" \"wget\" blue \\x22one\\x22");
        check("%400,501{User-Agent}i", "wget");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |format: &str, expected: &str| {
            let error = format.parse::<LogTemplate>().unwrap_err();
            assert_eq!(error.to_string(), expected, "{format}");
        };
        check("{nonsense}", "there is no field \"nonsense\"");
        check("{client", "a brace is not closed");
        check("{header:Authorization}", "authorization would put a secret into the log");
        check("%{Cookie}i", "cookie would put a secret into the log");
        check("%{x}e", "there is no field \"%{x}e\"");
        check("100%", "a brace is not closed");
    }
}
