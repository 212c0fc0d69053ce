//! What is told while an application is replaced, step by step.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::rollout::Way;

/// Tells somebody each step; it must not wait.
pub type Tell = Arc<dyn Fn(Step) + Send + Sync>;

/// A step on the way to a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// New workers are started beside the old ones.
    Starting {
        application: String,
        workers: usize,
        is_one_by_one: bool,
        /// Why it is done like this, when that was to be found out.
        why: Option<String>,
        health: Option<String>,
    },
    /// So many new workers are ready.
    Ready { ready: usize, of: usize },
    /// New requests go to the new version; the old one finishes what it has.
    Switched { application: String, requests: usize, websockets: usize },
}

impl Step {
    pub(super) fn starting(plan: &crate::Plan, workers: usize, way: &Way) -> Self {
        Self::Starting {
            application: plan.application.to_string(),
            workers,
            is_one_by_one: way.is_one_by_one,
            why: way.why.clone(),
            health: plan.health.clone(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { application, workers, is_one_by_one, why, health } => {
                let s = plural(*workers);
                write!(f, "starting {workers} worker{s} of {application}")?;
                if *is_one_by_one {
                    f.write_str(", one by one")?;
                }
                why.iter().try_for_each(|why| write!(f, " ({why})"))?;
                health.iter().try_for_each(|health| write!(f, "; {health} must answer"))
            }
            Self::Ready { ready, of } => write!(f, "{ready}/{of} ready"),
            Self::Switched { application, requests, websockets } => {
                write!(f, "switched {application}")?;
                let (r, w) = (plural(*requests), plural(*websockets));
                match (requests, websockets) {
                    (0, 0) => Ok(()),
                    (_, 0) => write!(f, "; {requests} request{r} of the old version still running"),
                    (0, _) => {
                        write!(f, "; {websockets} websocket{w} of the old version still open")
                    }
                    _ => write!(
                        f,
                        "; {requests} request{r} and {websockets} websocket{w} of the old version \
                         still running"
                    ),
                }
            }
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn steps_read_well() {
        let check = |step: Step, expected: &str| assert_eq!(step.to_string(), expected);
        let starting = |workers, is_one_by_one, why: Option<&str>, health: Option<&str>| {
            let (why, health) = (why.map(str::to_owned), health.map(str::to_owned));
            Step::Starting { application: "app:app".into(), workers, is_one_by_one, why, health }
        };
        check(starting(4, false, None, None), "starting 4 workers of app:app");
        check(
            starting(1, true, Some("little memory"), Some("/up")),
            "starting 1 worker of app:app, one by one (little memory); /up must answer",
        );
        check(Step::Ready { ready: 2, of: 4 }, "2/4 ready");
        let switched = |requests, websockets| Step::Switched {
            application: "app:app".into(),
            requests,
            websockets,
        };
        check(switched(0, 0), "switched app:app");
        check(switched(1, 0), "switched app:app; 1 request of the old version still running");
        check(switched(0, 2), "switched app:app; 2 websockets of the old version still open");
        check(
            switched(3, 1),
            "switched app:app; 3 requests and 1 websocket of the old version still running",
        );
    }
}
