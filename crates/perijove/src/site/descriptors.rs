//! How many files this process may have open, and so how many connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For listeners, files, logs, and connections to workers.
const RESERVE: u64 = 256;
/// Beside the connections of clients as many may lead on to programs elsewhere. A limit without
/// bounds would make children slow that close all they could have inherited.
const SPARE: u64 = 1024;

/// Raises the limit of open files as far as so many connections need it and as is allowed, and says
/// how many there may be.
pub(super) fn allow(connections: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let wanted = wanted(connections, before, limit.maximum.unwrap_or(u64::MAX));
    let is_raised = wanted > before
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok();
    let files = if is_raised { wanted } else { before };
    let allowed = possible(connections, files);
    if allowed < connections {
        tracing::warn!(
            files,
            wanted = connections,
            allowed,
            "`limits.connections` is more than the limit of open files allows; \
             hint: raise it with `LimitNOFILE=` of the service, or `ulimit -Hn`"
        );
    }
    allowed
}

/// The limit of open files to ask for.
fn wanted(connections: usize, before: u64, most: u64) -> u64 {
    let needed = (connections as u64).saturating_mul(2).saturating_add(SPARE);
    needed.clamp(before.min(most), most)
}

/// How many connections so many files allow.
fn possible(connections: usize, files: u64) -> usize {
    let most = files.saturating_sub(RESERVE).max(files / 2).max(1);
    connections.min(usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::{possible, wanted};

    #[test]
    fn the_limit_is_raised_as_far_as_is_needed() {
        let check = |connections: usize, before: u64, most: u64, expected: (u64, usize)| {
            let files = wanted(connections, before, most);
            assert_eq!((files, possible(connections, files)), expected);
        };
        check(10_000, 1024, 1 << 20, (21_024, 10_000));
        check(10_000, 1024, 4096, (4096, 3840));
        check(10_000, 1 << 20, 1 << 20, (1 << 20, 10_000));
        check(10_000, 256, 256, (256, 128));
        check(10, 1024, 1024, (1024, 10));
        check(usize::MAX, 1024, u64::MAX, (u64::MAX, usize::MAX - 256));
    }
}
