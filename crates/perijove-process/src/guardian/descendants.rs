//! All processes that stem from this one.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Pid, Signal, getpid};

use crate::system::{Held, Process, processes};

/// Sends SIGKILL to all descendants that still run, and says how many there were.
pub(super) fn kill_all() -> usize {
    let table = processes();
    let mut killed = 0;
    for process in below(getpid(), &table) {
        // Between the look and the signal the id may have become another's.
        if let Ok(Some(held)) = Held::open(process.pid, process.start_time) {
            held.signal(Signal::KILL).ok();
            killed += 1;
        }
    }
    killed
}

/// The descendants in a table, zombies left out.
fn below(ancestor: Pid, table: &[Process]) -> Vec<Process> {
    let mut children: BTreeMap<Option<i32>, Vec<&Process>> = BTreeMap::new();
    for process in table {
        children.entry(process.parent.map(number)).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([number(ancestor)]);
    let mut open = vec![number(ancestor)];
    while let Some(parent) = open.pop() {
        for process in children.get(&Some(parent)).into_iter().flatten() {
            if seen.insert(number(process.pid)) {
                open.push(number(process.pid));
                found.push(**process);
            }
        }
    }
    found.retain(|process| !process.is_zombie);
    found
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as (id, parent) pairs; a negative id is a zombie.
    fn check(table: &[(i32, i32)], expected: &[i32]) {
        let table: Vec<Process> = table
            .iter()
            .map(|(pid, parent)| Process {
                pid: Pid::from_raw(pid.abs()).unwrap(),
                parent: Pid::from_raw(*parent),
                start_time: 0,
                is_zombie: *pid < 0,
                ticks: 0,
                pages: 0,
            })
            .collect();
        let mut got: Vec<i32> = below(Pid::from_raw(10).unwrap(), &table)
            .into_iter()
            .map(|process| number(process.pid))
            .collect();
        got.sort_unstable();
        assert_eq!(got, expected);
    }

    #[test]
    fn descendants_of_every_generation_are_found() {
        check(&[(1, 0), (10, 1), (11, 10), (12, 11), (13, 12), (20, 1), (21, 20)], &[11, 12, 13]);
        check(&[(1, 0), (10, 1)], &[]);
        check(&[(10, 1), (-11, 10), (12, 11)], &[12]);
        // A table read while ids were reused may even hold a circle.
        check(&[(10, 12), (11, 10), (12, 11)], &[11, 12]);
    }
}
