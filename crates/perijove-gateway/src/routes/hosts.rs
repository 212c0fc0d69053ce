//! What belongs to a host, or to all hosts below one.

use std::collections::BTreeMap;

/// Something for each of some hosts. Names are in lower case; `*.example.com` is every host below
/// `example.com`, and not that one itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts<T> {
    named: BTreeMap<String, T>,
    /// By what the names end with, the dot at its front.
    below: BTreeMap<String, T>,
}

impl<T: Default> Hosts<T> {
    /// What belongs to a host or a pattern, made when it is not there.
    pub(super) fn entry(&mut self, host: &str) -> &mut T {
        match host.strip_prefix('*') {
            Some(end) if end.starts_with('.') => self.below.entry(end.to_owned()).or_default(),
            _ => self.named.entry(host.to_owned()).or_default(),
        }
    }
}

impl<T> Hosts<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.below.is_empty()
    }

    /// What belongs to a host, which may have a port: the nearest first.
    pub(super) fn of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> {
        let name = if self.is_empty() { "" } else { bare(host) };
        let named = if name.is_empty() { None } else { self.named.get(name) };
        let ends =
            (1..name.len()).filter(|at| !self.below.is_empty() && name.is_char_boundary(*at));
        let ends = ends.filter_map(move |at| name.get(at..).filter(|end| end.starts_with('.')));
        named.into_iter().chain(ends.filter_map(|end| self.below.get(end)))
    }
}

/// Without the port, and without the dot that ends a complete name.
fn bare(host: &str) -> &str {
    let name = match host.rfind(':') {
        Some(at) if !host.get(at..).unwrap_or_default().contains(']') => {
            host.get(..at).unwrap_or(host)
        }
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}
