//! What is wrong with a configuration: all of it at once, each with its place and a way out.

use std::{error::Error, fmt};

use super::entry::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) origin: Origin,
    /// What happened to what: lower case, no full stop.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The setting may be right: what it names is not there, and may come.
    pub(crate) is_absence: bool,
}

impl Mistake {
    pub(crate) fn new(origin: Origin, what: impl Into<String>) -> Self {
        Self { origin, what: what.into(), hint: None, is_absence: false }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        f.write_str(&self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn push(&mut self, mistake: Mistake) {
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }

    pub(crate) fn extend(&mut self, others: impl IntoIterator<Item = Mistake>) {
        others.into_iter().for_each(|mistake| self.push(mistake));
    }

    /// Adds all of another list.
    pub(crate) fn join(&mut self, others: Self) {
        self.extend(others.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// Whether nothing is wrong but that something is not there.
    pub(crate) fn are_absences(&self) -> bool {
        self.0.iter().all(|mistake| mistake.is_absence)
    }

    /// Without those in lines after the first mistake of the list.
    #[must_use]
    pub(crate) fn up_to_first(mut self) -> Self {
        if let Some(Origin::File { line: first, .. }) = self.0.first().map(|m| m.origin.clone()) {
            let is_after =
                |origin: &Origin| matches!(origin, Origin::File { line, .. } if *line > first);
            self.0.retain(|mistake| !is_after(&mistake.origin));
        }
        self
    }

    /// In the order in which somebody who mends the file meets them.
    #[must_use]
    pub(crate) fn sorted(mut self) -> Self {
        let line = |mistake: &Mistake| match &mistake.origin {
            Origin::File { line, .. } => (0, *line),
            Origin::Environment(_) => (1, 0),
            Origin::Flag(_) => (2, 0),
            Origin::Default => (3, 0),
        };
        self.0.sort_by_key(line);
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a mistake")?,
            count => write!(f, "the configuration has {count} mistakes")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n{mistake}"))
    }
}

impl Error for Mistakes {}

/// The candidate that somebody who typed `written` most likely meant.
pub(crate) fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.replace('_', "-").to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&written, candidate), candidate))
        .filter(|(far, candidate)| *far <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many single letters must change to get from one word to the other; two neighbours that
/// changed places count once.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(80).collect();
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, here) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, there) in to.iter().enumerate() {
            let at = |line: &[usize], at: usize| line.get(at).copied().unwrap_or(usize::MAX / 2);
            let change = at(&above, column) + usize::from(here != there);
            let mut best = change.min(at(&above, column + 1) + 1).min(at(&current, column) + 1);
            let is_swap = column > 0
                && row > 0
                && to.get(column - 1) == Some(here)
                && from.get(row - 1) == Some(there);
            if is_swap {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn letters_are_counted() {
        let check = |from, to, expected| assert_eq!(distance(from, to), expected, "{from} {to}");
        check("", "", 0);
        check("", "abc", 3);
        check("workers", "workers", 0);
        check("wrokers", "workers", 1);
        check("worker", "workers", 1);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn the_nearest_known_key_is_named() {
        let known = ["workers", "threads", "state-folder", "app"];
        let check = |written, expected| assert_eq!(nearest(written, known), expected, "{written}");
        check("wrokers", Some("workers"));
        check("state_folder", Some("state-folder"));
        check("Threads", Some("threads"));
        check("ap", Some("app"));
        check("colour", None);
    }
}
