//! Routes of one host, arranged by the segments of their prefixes.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::spelling::decode;
use crate::Route;

/// One segment of the prefixes, and all that follow it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// By their segments without percent-encoding.
    children: BTreeMap<Vec<u8>, Self>,
    /// The segment as it was written when the route was inserted.
    written: Vec<u8>,
    /// Of the prefix that ends here without a slash: it and what lies below.
    here: Option<Arc<Route>>,
    /// Of the prefix that ends here with a slash: only what lies below.
    below: Option<Arc<Route>>,
}

impl Tree {
    pub(super) fn insert<'a>(
        &mut self,
        segments: impl Iterator<Item = &'a [u8]>,
        is_folder: bool,
        route: Arc<Route>,
    ) {
        let node = segments.fold(self, |node, segment| {
            let child = node.children.entry(decode(segment)).or_default();
            segment.clone_into(&mut child.written);
            child
        });
        if is_folder { node.below = Some(route) } else { node.here = Some(route) }
    }

    /// The route of the longest prefix of a path whose segments are spelled as those of the
    /// prefix, and whether another spelling of them would lead further. An empty last segment is a
    /// slash at the end.
    pub(super) fn find_as_sent<'a>(
        &self,
        segments: impl Iterator<Item = &'a [u8]>,
    ) -> (Option<&Arc<Route>>, bool) {
        let mut is_other = false;
        let found = self.walk(segments, |node, segment| {
            let decoded = if segment.contains(&b'%') {
                Cow::Owned(decode(segment))
            } else {
                Cow::Borrowed(segment)
            };
            let child = node.children.get(decoded.as_ref())?;
            is_other = child.written != segment;
            (!is_other).then_some(child)
        });
        (found, is_other)
    }

    /// The route of the longest prefix of a path that was decoded.
    pub(super) fn find<'a>(&self, segments: impl Iterator<Item = &'a [u8]>) -> Option<&Arc<Route>> {
        self.walk(segments, |node, segment| node.children.get(segment))
    }

    fn walk<'a, 's>(
        &'s self,
        mut segments: impl Iterator<Item = &'a [u8]>,
        mut step: impl FnMut(&'s Self, &'a [u8]) -> Option<&'s Self>,
    ) -> Option<&'s Arc<Route>> {
        let (mut node, mut found) = (self, None);
        loop {
            let Some(segment) = segments.next() else { return node.here.as_ref().or(found) };
            found = node.below.as_ref().or(node.here.as_ref()).or(found);
            match step(node, segment) {
                Some(child) => node = child,
                None => return found,
            }
        }
    }
}
