//! Whether memory allows a second set of workers beside the first.

use perijove_process::Usage;

use crate::{Plan, Rollout, WorkerStatus, driver, system};

/// How new workers replace old ones, and why, when that was to be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) is_one_by_one: bool,
    pub(super) why: Option<String>,
}

/// How to replace these workers.
pub(super) fn choose(plan: &Plan, old: &[WorkerStatus]) -> Way {
    let way = |is_one_by_one| Way { is_one_by_one, why: None };
    match plan.rollout {
        // The one beside the other is the same for one.
        _ if driver::instances(plan) <= 1 => way(false),
        Rollout::Together => way(false),
        Rollout::OneByOne => way(true),
        Rollout::Auto => {
            let used = old.iter().filter_map(|status| memory(status.pid?)).sum::<u64>();
            let running = u64::try_from(old.len()).unwrap_or(u64::MAX).max(1);
            let wanted = u64::try_from(driver::instances(plan)).unwrap_or(u64::MAX);
            judge(used / running * wanted, system::available_memory())
        }
    }
}

fn memory(pid: u32) -> Option<u64> {
    Usage::proportional_memory(pid).or_else(|| Some(Usage::of(pid)?.memory))
}

/// A quarter is left for what else happens meanwhile.
fn judge(needed: u64, available: Option<u64>) -> Way {
    match available {
        Some(available) if needed > available / 4 * 3 => {
            let (needed, available) = (needed >> 20, available >> 20);
            let why = format!(
                "a second set of workers takes about {needed} MiB, and {available} MiB are available"
            );
            Way { is_one_by_one: true, why: Some(why) }
        }
        _ => Way { is_one_by_one: false, why: None },
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn memory_decides() {
        const MIB: u64 = 1 << 20;
        let check = |needed: u64, available: Option<u64>, expected| {
            let way = judge(needed * MIB, available.map(|available| available * MIB));
            assert_eq!(way.is_one_by_one, expected, "{needed} of {available:?}");
        };
        check(100, None, false);
        check(100, Some(1000), false);
        check(750, Some(1000), false);
        check(751, Some(1000), true);
        check(1, Some(0), true);
        let way = judge(900 * MIB, Some(1000 * MIB));
        let why = "a second set of workers takes about 900 MiB, and 1000 MiB are available";
        assert_eq!(way.why.as_deref(), Some(why));
    }
}
