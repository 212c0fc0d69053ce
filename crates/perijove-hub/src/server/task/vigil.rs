//! Looks after the use of a server that runs: asks it, warns, and says when its end has come.

use serde::Deserialize;
use tokio::{
    sync::oneshot,
    time::{Duration, Instant},
};

use super::Task;
use crate::{
    clock,
    config::Plan,
    idle::{Due, Life, Reason, Rules, Term, Use, due, in_words},
    record::{Ended, Record, Token},
    spawn::{Place, ProbeError, Way, ask},
};

/// From the start of a server to the first look at it.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What is known of the use of one server.
#[derive(Default)]
pub(super) struct Vigil {
    token: Option<Token>,
    known: Option<Use>,
    life: Life,
    warned: Option<u64>,
    /// Not at all when nothing could follow from it.
    look_at: Option<Instant>,
    /// Whether the next look tells that somebody is here.
    as_person: bool,
    asking: Vec<oneshot::Sender<Option<Use>>>,
    is_silence_told: bool,
}

/// What `api/perijove/activity` answers, as far as it is needed.
#[derive(Deserialize)]
struct Said {
    last_action: f64,
    last_active: f64,
    busy: bool,
}

impl Vigil {
    pub(super) fn begin(&mut self, record: Option<&Record>, plan: &Plan) {
        let is_ended_in_time = record.is_some_and(|record| record.launch.kill_timeout > 0);
        let is_needed = plan.idle_timeout > Duration::ZERO || is_ended_in_time;
        let look_at = is_needed.then(|| Instant::now() + FIRST_LOOK);
        let token = record.map(|record| record.token.clone());
        *self = Self { token, look_at, ..Self::default() };
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// The next look is now; it can tell the server that somebody is here.
    pub(super) fn look(&mut self, as_person: bool, reply: oneshot::Sender<Option<Use>>) {
        self.asking.push(reply);
        self.as_person |= as_person;
        self.look_at = Some(Instant::now());
    }

    /// Waits for the next look, and takes it. May be dropped at any time.
    pub(super) async fn next(&self, place: &Place) -> Result<Use, ProbeError> {
        let (Some(at), Some(token)) = (self.look_at, &self.token) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(at).await;
        let way = if self.as_person { Way::Post } else { Way::Get };
        let path = format!("{}api/perijove/activity", place.address);
        let answer = ask(&place.socket, way, &path, token).await?;
        let said: Said = serde_json::from_slice(&answer)
            .map_err(|error| ProbeError::Answer(error.to_string()))?;
        Ok(Use {
            last_action: whole(said.last_action),
            last_active: whole(said.last_active),
            is_busy: said.busy,
        })
    }

    fn consider(&mut self, heard: Result<Use, ProbeError>, rules: Rules, term: Term) -> Due {
        self.known = heard.ok();
        let due = due(clock::now(), rules, self.known, Term { warned: self.warned, ..term });
        let is_warned = due.life.warning.is_some_and(|warning| warning.reason == Reason::Idle);
        self.warned = is_warned.then(|| self.warned.unwrap_or_else(clock::now));
        self.life = due.life;
        self.look_at = Some(Instant::now() + Duration::from_secs(due.again));
        self.as_person = false;
        for reply in self.asking.drain(..) {
            reply.send(self.known).ok();
        }
        due
    }
}

impl Task {
    /// What follows from what the server has said; true when nobody uses it any more.
    pub(super) fn judge(&mut self, heard: Result<Use, ProbeError>) -> bool {
        let rules = {
            let plan = self.core.plan.load();
            Rules::new(plan.idle_timeout, plan.warn_before)
        };
        if let Err(error) = &heard
            && !std::mem::replace(&mut self.vigil.is_silence_told, true)
        {
            tracing::warn!(
                notebook = %self.notebook,
                error = crate::launch::said(error),
                "a notebook does not say whether it is used: it is not ended for want of use"
            );
        }
        let was = self.vigil.life.warning;
        let (started, kill_at) = {
            let view = self.view.borrow();
            (view.started.unwrap_or_default(), view.kill_at)
        };
        let due = self.vigil.consider(heard, rules, Term { started, kill_at, warned: None });
        if let Some(warning) = due.life.warning.filter(|warning| was != Some(*warning)) {
            tracing::info!(
                notebook = %self.notebook,
                reason = ?warning.reason,
                at = warning.at,
                "the pages of a notebook warn of its end"
            );
        }
        if due.is_over
            && let Some(record) = &mut self.record
        {
            let span = in_words(rules.idle);
            let reason = format!("it was ended: nobody had used it for {span}");
            record.ended = Some(Ended { reason, last_lines: Vec::new() });
        }
        self.show();
        due.is_over
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment in seconds; what is none becomes 0 or the end of time"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}
