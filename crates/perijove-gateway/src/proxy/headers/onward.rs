//! The fields of a request on their way to an upstream.

use super::{Kind, asks_for_trailers, is_same, kind, list_names, names_a_field};
use crate::{Client, Confinement, Head, Rewrite};

/// A request's end-to-end fields, after the rewriting of its route.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Onward<'a> {
    pub(in crate::proxy) head: &'a Head,
    pub(in crate::proxy) client: &'a Client,
    pub(in crate::proxy) rewrite: Option<&'a Rewrite>,
    pub(in crate::proxy) confinement: Option<&'a Confinement>,
    /// Whether this is a question of our own, which says `Perijove-…` itself.
    pub(in crate::proxy) is_question: bool,
}

/// Which name of the site an upstream is told in Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum HostName<'a> {
    /// As it came to us; what the client named stands in the forwarded fields.
    AsReceived,
    /// What the client named, for applications that are told nothing else.
    AsClientNamed,
    /// This one.
    Is(&'a str),
}

impl Onward<'_> {
    /// Calls `emit(name, value)` for each field, in the order in which they came; what the route
    /// sets comes last. Returns whether the client understands trailers.
    pub(in crate::proxy) fn each(
        &self,
        host: HostName<'_>,
        mut emit: impl FnMut(&[u8], &[u8]),
    ) -> bool {
        let mut takes_trailers = false;
        let has_named = self.head.get_all("connection").any(names_a_field);
        let mut has_cookie = false;
        if self.head.get("host").is_none() && !self.is_replaced(b"host") {
            emit(b"Host", self.host(host));
        }
        for (name, value) in self.head.fields() {
            let kind = kind(name);
            let is_dropped = match kind {
                // The shortest of them is TE.
                Kind::HopByHop => {
                    takes_trailers |= name.len() == 2 && asks_for_trailers(value);
                    true
                }
                Kind::Provenance | Kind::ContentLength => true,
                Kind::Ours => !self.is_question,
                Kind::Trace => self.is_retold(name),
                _ => has_named && kind != Kind::Host && self.is_named(name),
            };
            if is_dropped || self.is_replaced(name) {
                continue;
            }
            match kind {
                Kind::Host => emit(name, self.host(host)),
                Kind::Cookie if !std::mem::replace(&mut has_cookie, true) => {
                    self.emit_cookies(name, value, &mut emit);
                }
                // HTTP/2 sends one field for each cookie: they were joined at the first.
                Kind::Cookie if self.head.version() == 2 => {}
                Kind::Cookie => self.emit_confined(name, value, &mut emit),
                _ => emit(name, value),
            }
        }
        if let Some(trace) = &self.client.trace {
            emit(b"traceparent", trace.onward().as_bytes());
        }
        if let Some(proven) = &self.client.proven {
            for (name, value) in &proven.fields {
                emit(name.as_bytes(), value.as_bytes());
            }
        }
        for (name, value) in self.rewrite.iter().flat_map(|rewrite| rewrite.set.iter()) {
            emit(name.as_bytes(), value.reveal().as_bytes());
        }
        takes_trailers
    }

    fn host<'h>(&'h self, host: HostName<'h>) -> &'h [u8] {
        let received = self.head.host().unwrap_or(&self.client.host);
        match host {
            HostName::AsReceived => received.as_bytes(),
            // The same name keeps its spelling.
            HostName::AsClientNamed if received.eq_ignore_ascii_case(&self.client.host) => {
                received.as_bytes()
            }
            HostName::AsClientNamed => self.client.host.as_bytes(),
            HostName::Is(name) => name.as_bytes(),
        }
    }

    /// The first Cookie field; in HTTP/2 with all that follow (RFC 9113 8.2.3).
    fn emit_cookies(&self, name: &[u8], value: &[u8], emit: &mut impl FnMut(&[u8], &[u8])) {
        if self.head.version() != 2 {
            return self.emit_confined(name, value, emit);
        }
        let mut all = Vec::new();
        for value in self.head.get_all("cookie") {
            if !all.is_empty() {
                all.extend_from_slice(b"; ");
            }
            all.extend_from_slice(value);
        }
        self.emit_confined(name, &all, emit);
    }

    fn emit_confined(&self, name: &[u8], value: &[u8], emit: &mut impl FnMut(&[u8], &[u8])) {
        match self.confinement.map(|confinement| confinement.cookies(value)) {
            None => emit(name, value),
            Some(Some(kept)) => emit(name, &kept),
            Some(None) => {}
        }
    }

    /// Whether what a client says of its trace is ours to say: its parent always, and what others
    /// noted beside it when that parent was no good.
    fn is_retold(&self, name: &[u8]) -> bool {
        self.client.trace.as_ref().is_some_and(|trace| trace.parent.is_none() || name.len() == 11)
    }

    /// Whether a Connection field says that this one ends here.
    fn is_named(&self, name: &[u8]) -> bool {
        self.head.get_all("connection").any(|list| list_names(list, name))
    }

    /// Whether the route removes or sets a field of that name.
    fn is_replaced(&self, name: &[u8]) -> bool {
        self.rewrite.is_some_and(|rewrite| {
            rewrite.remove.iter().any(|removed| is_same(name, removed.as_bytes()))
                || rewrite.set.iter().any(|(set, _)| same_name(name, set))
        })
    }
}

fn same_name(name: &[u8], set: &str) -> bool {
    name.len() == set.len()
        && name.iter().zip(set.as_bytes()).all(|(a, b)| super::normal(*a) == super::normal(*b))
}
