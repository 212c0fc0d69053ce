//! The target of a request: origin form, absolute form, or `*` for OPTIONS.

use super::{HeadError, Span, authority::Authority, offset};

/// A target, taken apart.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Of an absolute form, and where in the target it stands.
    pub(super) authority: Option<(Authority<'a>, Span)>,
    /// Where in the target the origin form stands.
    origin: Span,
    /// Whether a slash must go before the origin form: an absolute form may lack the path.
    is_bare: bool,
}

impl<'a> Target<'a> {
    /// `target` holds no spaces and no control characters.
    pub(super) fn parse(method: &[u8], target: &'a [u8]) -> Result<Self, HeadError> {
        if method == b"CONNECT" {
            return Err(HeadError::Malformed("CONNECT, which is for proxies"));
        }
        if target.contains(&b'#') {
            return Err(HeadError::Malformed("a fragment in the target"));
        }
        let whole = Span { start: 0, end: offset(target.len()) };
        match target {
            [b'/', ..] => return Ok(Self { authority: None, origin: whole, is_bare: false }),
            b"*" if method == b"OPTIONS" => {
                return Ok(Self { authority: None, origin: whole, is_bare: false });
            }
            _ => {}
        }
        let Some((prefix, default_port)) = scheme(target) else {
            return Err(HeadError::Malformed("the target"));
        };
        let rest = target.get(prefix..).unwrap_or_default();
        let length = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, origin) = rest.split_at(length);
        let authority = Authority::parse(authority)?.with_default_port(default_port);
        let span = Span::new(prefix, prefix + length);
        Ok(Self {
            authority: Some((authority, span)),
            origin: Span { start: span.end, end: whole.end },
            is_bare: origin.first() != Some(&b'/'),
        })
    }

    /// The bytes of the head, of which the target begins at `start`, and where in them the origin
    /// form stands: where none was sent it is put behind the head.
    pub(super) fn resolve(&self, bytes: &[u8], start: u32) -> (Box<[u8]>, Span) {
        let origin = Span { start: start + self.origin.start, end: start + self.origin.end };
        if !self.is_bare {
            return (bytes.into(), origin);
        }
        let mut all = bytes.to_vec();
        all.push(b'/');
        all.extend_from_slice(origin.of(bytes));
        let span = Span::new(bytes.len(), all.len());
        (all.into(), span)
    }
}

/// The length of `http://` or `https://` at the front, and the port it stands for.
fn scheme(target: &[u8]) -> Option<(usize, u16)> {
    [(b"http://".as_slice(), 80), (b"https://", 443)].into_iter().find_map(|(scheme, port)| {
        let front = target.get(..scheme.len())?;
        front.eq_ignore_ascii_case(scheme).then_some((scheme.len(), port))
    })
}
