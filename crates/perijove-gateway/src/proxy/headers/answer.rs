//! The fields of an answer on their way to the client.

use bytes::BytesMut;

use super::{Kind, kind, list_names, names_a_field};
use crate::{Confinement, CookieNames};

/// Which fields of an answer pass.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct AnswerFields<'a> {
    pub(in crate::proxy) confinement: Option<&'a Confinement>,
    /// Where the names of cookies are noted when the target is not confined.
    pub(in crate::proxy) cookies: &'a CookieNames,
    /// Whether `Perijove-…` is kept: the answer to a question of our own.
    pub(in crate::proxy) is_question: bool,
    /// Whether this answers HEAD, where Content-Length is all that tells the length.
    pub(in crate::proxy) is_head: bool,
}

impl AnswerFields<'_> {
    /// Appends the fields that pass to a block in wire form. Names and values must have been
    /// checked for line ends.
    pub(in crate::proxy) fn collect<'f>(
        &self,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        block: &mut BytesMut,
    ) {
        let connection =
            fields.clone().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        let has_named = connection.clone().any(|(_, list)| names_a_field(list));
        let is_named = |name: &[u8]| connection.clone().any(|(_, list)| list_names(list, name));
        for (name, value) in fields {
            if !(has_named && is_named(name)) {
                self.push(name, value, block);
            }
        }
    }

    /// Whether a field passes as it is, whatever else there is.
    pub(in crate::proxy) fn passes(&self, name: &[u8]) -> bool {
        match kind(name) {
            Kind::HopByHop | Kind::DateOrServer | Kind::SetCookie => false,
            Kind::ContentLength => self.is_head,
            Kind::Ours => self.is_question,
            _ => self.confinement.is_none() || !Confinement::drops(name),
        }
    }

    /// Appends one field if it passes, changed where it must be.
    pub(in crate::proxy) fn push(&self, name: &[u8], value: &[u8], block: &mut BytesMut) {
        if self.passes(name) {
            push_line(name, value, block);
        } else if kind(name) == Kind::SetCookie {
            self.push_cookie(name, value, block);
        }
    }

    fn push_cookie(&self, name: &[u8], value: &[u8], block: &mut BytesMut) {
        if let Some(confinement) = self.confinement {
            if let Some(value) = confinement.set_cookie(value) {
                push_line(name, &value, block);
            }
        } else {
            self.cookies.record_set_cookie(value);
            push_line(name, value, block);
        }
    }
}

fn push_line(name: &[u8], value: &[u8], block: &mut BytesMut) {
    block.reserve(name.len() + value.len() + 4);
    block.extend_from_slice(name);
    block.extend_from_slice(b": ");
    block.extend_from_slice(value);
    block.extend_from_slice(b"\r\n");
}
