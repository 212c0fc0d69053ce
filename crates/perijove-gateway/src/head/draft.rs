//! A head that is being read, line by line.
//!
//! A line is looked at once, when its end has come. Field names and values are tokens as in RFC
//! 9110 5, with nothing forgiven: what two parsers may read differently is refused.

use memchr::{memchr, memchr2, memrchr};

use super::{
    Facts, FieldSpans, Framing, Head, HeadError, HeadLimits, Parts, Span, authority::Authority,
    list_has, offset, target::Target,
};

/// What of a head was read so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Where the line that is being read begins.
    line_start: usize,
    /// Up to here no line end is left to be found.
    scanned: usize,
    request: Option<RequestLine>,
    fields: FieldSpans,
    host: Option<Span>,
    length: Option<u64>,
    is_chunked: bool,
    facts: Facts,
}

#[derive(Clone, Copy, Debug)]
struct RequestLine {
    method: Span,
    target: Span,
    version: u8,
}

impl Draft {
    /// Reads the lines of `buffer` that were not read before; the length of the head when it is
    /// complete.
    pub(super) fn advance(
        &mut self,
        buffer: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<usize>, HeadError> {
        loop {
            let rest = buffer.get(self.scanned..).unwrap_or_default();
            let Some(at) = memchr(b'\n', rest) else {
                return self.wait(buffer, limits);
            };
            let newline = self.scanned + at;
            if newline >= limits.bytes {
                return Err(HeadError::TooLarge);
            }
            let line = buffer.get(self.line_start..newline).unwrap_or_default();
            let Some(line) = whole_line(line)? else {
                return Err(HeadError::Malformed("a line that ends with a bare line feed"));
            };
            let start = self.line_start;
            self.line_start = newline + 1;
            self.scanned = newline + 1;
            if self.request.is_none() {
                self.request = Some(request_line(line)?);
            } else if line.is_empty() {
                return Ok(Some(newline + 1));
            } else {
                self.field(line, start, limits)?;
            }
        }
    }

    /// No line end in sight: refuses at once what no further byte can make right.
    fn wait(&mut self, buffer: &[u8], limits: HeadLimits) -> Result<Option<usize>, HeadError> {
        let tail = buffer.get(self.scanned..).unwrap_or_default();
        whole_line(tail)?;
        let tail = tail.strip_suffix(b"\r").unwrap_or(tail);
        self.scanned += tail.len();
        if buffer.len() > limits.bytes { Err(HeadError::TooLarge) } else { Ok(None) }
    }

    fn field(&mut self, line: &[u8], start: usize, limits: HeadLimits) -> Result<(), HeadError> {
        if self.fields.len() >= limits.fields {
            return Err(HeadError::TooLarge);
        }
        let (name, value) = split_field(line).map_err(HeadError::Malformed)?;
        let value_start = start + value.start as usize;
        let span = Span::new(value_start, start + value.end as usize);
        self.note(name, value.of(line), span)?;
        self.fields.push((Span::new(start, start + name.len()), span));
        Ok(())
    }

    /// Remembers what the few fields say that tell how a request is framed and handled.
    fn note(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), HeadError> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is(b"host") => once(&mut self.host, span, "more than one Host")?,
            14 if is(b"content-length") => {
                let length = decimal(value).ok_or(HeadError::Malformed("the Content-Length"))?;
                once(&mut self.length, length, "more than one Content-Length")?;
            }
            17 if is(b"transfer-encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::Malformed("a Transfer-Encoding other than chunked"));
                }
                self.is_chunked = true;
            }
            // An application that reads `_` as `-` would take these for the body's length.
            14 if is(b"content_length") => return Err(UNDERSCORE),
            17 if is(b"transfer_encoding") => return Err(UNDERSCORE),
            10 if is(b"connection") => {
                self.facts.is_close |= list_has(value, b"close");
                self.facts.is_keep_alive |= list_has(value, b"keep-alive");
                self.facts.is_upgrade |= list_has(value, b"upgrade");
            }
            6 if is(b"expect") => {
                self.facts.is_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            5 if is(b"range") => self.facts.is_conditional = true,
            8.. if name.get(..3).is_some_and(|n| n.eq_ignore_ascii_case(b"if-")) => {
                self.facts.is_conditional = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks what can only be judged with all lines read, and makes the head of `bytes`.
    pub(super) fn finish(self, bytes: &[u8]) -> Result<Head, HeadError> {
        let Some(request) = self.request else {
            return Err(HeadError::Malformed("no request line"));
        };
        let framing = self.framing(request.version)?;
        let host = self.host.map(|span| Authority::parse(span.of(bytes))).transpose()?;
        if host.is_none() && request.version > 0 {
            return Err(HeadError::Malformed("no Host"));
        }
        let target = Target::parse(request.method.of(bytes), request.target.of(bytes))?;
        let start = request.target.start;
        let mut host_span = self.host;
        if let Some((authority, span)) = &target.authority {
            if host.is_some_and(|host| !host.is_same(authority)) {
                return Err(HeadError::Malformed("Host differs from the target's authority"));
            }
            host_span = Some(Span { start: start + span.start, end: start + span.end });
        }
        let (bytes, target) = target.resolve(bytes, start);
        let path_end =
            memchr(b'?', target.of(&bytes)).map_or(target.end, |at| target.start + offset(at));
        Ok(Head {
            parts: std::sync::Arc::new(Parts {
                bytes,
                method: request.method,
                target,
                path_end,
                host: host_span,
                fields: self.fields,
                framing,
                version: request.version,
                facts: self.facts,
            }),
        })
    }

    /// RFC 9112 6.3, without its leniency: with both fields, or with an encoding that HTTP/1.0
    /// does not know, somebody on the way may see another end of the body.
    fn framing(&self, version: u8) -> Result<Framing, HeadError> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(HeadError::Malformed("Content-Length beside Transfer-Encoding")),
            (true, None) if version == 0 => {
                Err(HeadError::Malformed("Transfer-Encoding in HTTP/1.0"))
            }
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::None),
        }
    }
}

const UNDERSCORE: HeadError =
    HeadError::Malformed("a field that frames the body is spelt with an underscore");

/// A line without its carriage return; `None` when it has none. In an error, a control character
/// comes before the rest, so that a head is refused alike however it arrives.
fn whole_line(line: &[u8]) -> Result<Option<&[u8]>, HeadError> {
    let whole = line.strip_suffix(b"\r");
    if has_control(whole.unwrap_or(line)) {
        return Err(HeadError::Malformed("a control character"));
    }
    Ok(whole)
}

/// `METHOD SP target SP HTTP/1.x`, exactly one space between the parts.
fn request_line(line: &[u8]) -> Result<RequestLine, HeadError> {
    let malformed = HeadError::Malformed("the request line");
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else {
        return Err(malformed);
    };
    let (method, version) = (Span::new(0, first), line.get(last + 1..).unwrap_or_default());
    let target = Span::new(first + 1, last);
    let version = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Err(HeadError::Malformed("the version")),
    };
    let is_method = first > 0 && first <= 64 && method.of(line).iter().all(|b| is_token(*b));
    let target_bytes = target.of(line);
    if !is_method {
        return Err(HeadError::Malformed("the method"));
    }
    if target_bytes.is_empty() || memchr2(b' ', b'\t', target_bytes).is_some() {
        return Err(malformed);
    }
    Ok(RequestLine { method, target, version })
}

/// The name of a field line, and where in the line its value stands. The line was looked through
/// for control characters before.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], Span), &'static str> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a folded field");
    }
    let Some(colon) = line.iter().position(|b| !is_token(*b)) else {
        return Err("a field without a colon");
    };
    let (name, rest) = line.split_at(colon);
    match rest.first() {
        _ if name.is_empty() => return Err("a field without a name"),
        Some(b':') => {}
        Some(b' ' | b'\t') => return Err("white space in a field's name"),
        _ => return Err("a field's name"),
    }
    let value = rest.get(1..).unwrap_or_default();
    let start = colon + 1 + (value.len() - value.trim_ascii_start().len());
    Ok((name, Span::new(start, start + value.trim_ascii().len())))
}

/// Keeps a value that may come once only.
fn once<T>(kept: &mut Option<T>, value: T, otherwise: &'static str) -> Result<(), HeadError> {
    if kept.replace(value).is_some() { Err(HeadError::Malformed(otherwise)) } else { Ok(()) }
}

/// Digits only, no sign, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether there is a control character other than the tab. Without an early end, so that the
/// compiler makes it wide.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    let controls = bytes.iter().map(|b| u8::from(*b < 0x20 && *b != b'\t') | u8::from(*b == 0x7f));
    controls.fold(0, |found, is_control| found | is_control) != 0
}

/// RFC 9110 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "done by the compiler")]
    const TOKENS: [bool; 256] = {
        let mut table = [false; 256];
        let all = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut at = 0;
        while at < all.len() {
            table[all[at] as usize] = true;
            at += 1;
        }
        table
    };
    TOKENS.get(byte as usize).copied().unwrap_or_default()
}
