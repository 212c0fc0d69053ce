//! How workers are replaced: by a new version, or because they have grown old.

use std::time::Duration;

use perijove_apps::{Recycling, Rollout};

use super::Check;
use crate::config::{self, Period, Site};

/// How the workers of all applications are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) probation: Duration,
    pub(crate) rollout: Rollout,
    pub(crate) websocket_time: Duration,
    pub(crate) deadlock_time: Duration,
    pub(crate) request_time: Duration,
    pub(crate) interrupt_time: Duration,
    pub(crate) recycling: Recycling,
    /// Reload when files change, and show in the browser what is wrong.
    pub(crate) watch: bool,
}

pub(super) fn decide(site: &Site, check: &mut Check<'_>) -> Life {
    check.at_least_one(site.max_requests.map(count), "site.max-requests");
    check.at_least_one(site.max_memory.map(|size| count(size.0)), "site.max-memory");
    if site.max_requests_jitter > 0 && site.max_requests.is_none() {
        let hint = "set `site.max-requests` too";
        check.wrong("site.max-requests-jitter", "means nothing without a number", hint);
    }
    let times = [
        ("site.max-age", site.max_age),
        ("site.max-cpu-time", site.max_cpu_time),
        ("site.inactivity-time", site.inactivity_time),
    ];
    for (key, time) in times {
        if let Some(time) = time {
            check.not_zero(time.0, key);
        }
    }
    let time = |period: Option<Period>| period.map(|period| period.0);
    Life {
        probation: site.probation.0,
        rollout: match site.rollout {
            config::Rollout::Auto => Rollout::Auto,
            config::Rollout::Together => Rollout::Together,
            config::Rollout::OneByOne => Rollout::OneByOne,
        },
        websocket_time: site.websocket_time.0,
        deadlock_time: site.deadlock_time.0,
        request_time: site.request_time.0,
        interrupt_time: site.interrupt_time.0,
        recycling: Recycling {
            requests: site.max_requests,
            jitter: site.max_requests_jitter,
            age: time(site.max_age),
            memory: site.max_memory.map(|size| size.0),
            cpu: time(site.max_cpu_time),
            idle: time(site.inactivity_time),
        },
        watch: site.watch,
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
