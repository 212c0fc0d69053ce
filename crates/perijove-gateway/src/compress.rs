//! Compresses answers on their way to clients that can read it.
//!
//! Levels are low: a text shrinks to a quarter for about the processor time of a small request, and
//! the last tenth would cost as much again. What is long is compressed in slices, between which
//! other connections have their turn.

mod encoder;
mod streaming;
#[cfg(test)]
mod tests;

use crate::{
    Body, FieldBlock, Head, Response, Source,
    body::FileSource,
    coding::{self, Coding},
};

pub(crate) use encoder::{Effort, Kept, whole};
use streaming::{Compressed, Once};

/// Shorter bodies are sent as they are: they fit into a packet or two anyway.
pub(crate) const SHORTEST: u64 = 1024;
/// Bodies up to this size that are at hand are compressed at once; their length is told then.
const AT_ONCE: usize = 64 << 10;

/// Larger files are sent by the kernel, as they are: who serves such texts puts compressed ones beside.
pub(crate) const LARGEST_FILE: u64 = 8 << 20;

/// What we can make, what costs least for what it saves first.
const CHOICE: [Coding; 4] = [Coding::Zstd, Coding::Gzip, Coding::Brotli, Coding::Identity];

/// Compresses the body of an answer, when it is a text that is long enough, the client can read it
/// and nobody has said otherwise. Tells caches that it depends on the client.
pub(crate) fn apply(answer: &mut Response, head: &Head) {
    if is_short(answer) || matches!(answer.status, 100..=199 | 204 | 206 | 304) {
        return;
    }
    let is_head = head.method() == "HEAD";
    let Some(facts) = Facts::read(&answer.fields) else { return };
    if is_head && facts.length.or(answer.body.length()).is_none_or(|length| length < SHORTEST) {
        return;
    }
    if !facts.varies {
        answer.fields.push("Vary", "Accept-Encoding");
    }
    let coding = coding::choose(head.get_all("accept-encoding"), CHOICE.into_iter());
    if coding == Coding::Identity {
        return;
    }
    let is_large = matches!(&answer.body, Body::File(file) if file.length > LARGEST_FILE);
    let body = if is_large {
        None
    } else if is_head {
        Some(Body::Empty)
    } else {
        coded(&mut answer.body, coding)
    };
    if let Some(body) = body {
        answer.body = body;
        mark(&mut answer.fields, coding);
    }
}

/// Whether a body is known to be too short, or there is none. An answer to HEAD may have none.
fn is_short(answer: &Response) -> bool {
    match &answer.body {
        Body::Tunnel(_) => true,
        Body::Empty => !answer.fields.contains("content-length"),
        body => body.length().is_some_and(|length| length < SHORTEST),
    }
}

/// The same body, coded; `None` when that would make it no shorter, or there is too much to do.
fn coded(body: &mut Body, coding: Coding) -> Option<Body> {
    match body {
        Body::Empty | Body::Tunnel(_) => return None,
        Body::Full(bytes) if bytes.len() <= AT_ONCE => {
            return whole(bytes, coding, Effort::Low).map(Body::Full);
        }
        Body::Full(_) | Body::File(_) | Body::Stream(_) => {}
    }
    let (encoder, place) = streaming::begin(coding)?;
    let source: Box<dyn Source> = match std::mem::take(body) {
        Body::Full(bytes) => Box::new(Once(Some(bytes))),
        Body::File(file) => Box::new(FileSource(file)),
        Body::Stream(source) => source,
        Body::Empty | Body::Tunnel(_) => return None,
    };
    Some(Body::Stream(Box::new(Compressed::new(source, encoder, place))))
}

/// Says that the body is coded: what was said of its bytes no longer holds.
fn mark(fields: &mut FieldBlock, coding: Coding) {
    let weak = fields.get("etag").filter(|tag| !tag.starts_with(b"W/"));
    let weak = weak.map(|tag| [b"W/", tag].concat());
    fields.retain(|name, _| {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        !(is(b"content-length") || is(b"accept-ranges") || (weak.is_some() && is(b"etag")))
    });
    if let Some(tag) = weak {
        fields.push("ETag", tag);
    }
    fields.push("Content-Encoding", coding.token());
}

/// What the fields of an answer say about its body.
struct Facts {
    length: Option<u64>,
    /// Caches know that it depends on Accept-Encoding.
    varies: bool,
}

impl Facts {
    /// `None` when the body is to be left alone.
    fn read(fields: &FieldBlock) -> Option<Self> {
        let mut facts = Self { length: None, varies: false };
        let mut is_text = false;
        for (name, value) in fields.iter() {
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            match name.len() {
                4 if is(b"vary") => facts.varies |= varies(value),
                6 if is(b"digest") => return None,
                11 if is(b"content-md5") || is(b"repr-digest") => return None,
                12 if is(b"content-type") => is_text = is_compressible(value),
                13 if is(b"cache-control") && has_no_transform(value) => return None,
                13 if is(b"content-range") => return None,
                14 if is(b"content-length") => facts.length = number(value),
                14 if is(b"content-digest") => return None,
                16 if is(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity") => {
                    return None;
                }
                _ => {}
            }
        }
        is_text.then_some(facts)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn varies(list: &[u8]) -> bool {
    let mut names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

fn has_no_transform(list: &[u8]) -> bool {
    let mut directives = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether what is of this media type shrinks: texts, and what is written as one. Not events, each
/// of which is small and should go at once.
pub(crate) fn is_compressible(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    let Some(at) = memchr::memchr(b'/', &essence) else { return false };
    let (kind, name) = essence.split_at(at);
    let name = name.get(1..).unwrap_or_default();
    match kind {
        b"text" => name != b"event-stream",
        b"application" => {
            name.ends_with(b"+json")
                || name.ends_with(b"+xml")
                || TEXTS.iter().any(|known| name == known.as_bytes())
        }
        b"image" => matches!(name, b"svg+xml" | b"bmp" | b"x-icon" | b"vnd.microsoft.icon"),
        b"font" => matches!(name, b"ttf" | b"otf"),
        b"model" => name == b"gltf+json",
        _ => false,
    }
}

/// Below `application`.
const TEXTS: [&str; 16] = [
    "json",
    "javascript",
    "x-javascript",
    "ecmascript",
    "xml",
    "x-ndjson",
    "ndjson",
    "jsonl",
    "graphql",
    "yaml",
    "toml",
    "sql",
    "rtf",
    "wasm",
    "vnd.ms-fontobject",
    "x-www-form-urlencoded",
];
