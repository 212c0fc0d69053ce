//! Listeners and what holds for all of them: prepared beside those in use, then taken over.

use std::sync::Arc;

use perijove_gateway::{AccessLog, Change, Tls};

use super::Site;
use crate::{
    config::Plan,
    control::reload::Refusal,
    site::{edge, failing, redirect},
};

/// What is open and read for a new plan, and not yet used.
pub(super) struct Listening {
    change: Change,
    tls: Option<Arc<Tls>>,
    access_log: Option<AccessLog>,
}

impl Site {
    /// Opens what a plan needs beside what is there; none when nothing changes.
    pub(super) fn prepare_listening(&mut self, plan: &Plan) -> Result<Option<Listening>, Refusal> {
        if is_same(&self.plan, plan) {
            return Ok(None);
        }
        let tls = if self.plan.tls == plan.tls {
            self.tls.as_deref().map_or(Ok(()), Tls::reload).map_err(Refusal::new)?;
            self.tls.clone()
        } else {
            edge::certificates(plan)?
        };
        let access_log = if is_same_access_log(&self.plan, plan) {
            self.access_log.clone()
        } else {
            edge::access_log(plan)?
        };
        let open = edge::Open {
            plan,
            roads: &self.roads,
            tls: tls.as_deref(),
            access_log: access_log.clone(),
            meter: self.meter.clone(),
            tracer: self.tracer.clone(),
        };
        let wanted = open.gateway(&mut self.sockets);
        let change = self.listeners.prepare(wanted).map_err(failing::bind)?;
        Ok(Some(Listening { change, tls, access_log }))
    }

    /// Has the listeners of the plan, which is in use now, take over.
    pub(super) fn listen(&mut self, listening: Listening) {
        let Listening { change, tls, access_log } = listening;
        self.listeners.apply(change);
        let addresses = self.listeners.addresses();
        redirect::fill(&self.roads.redirecting, &addresses);
        self.board.tell_addresses(edge::told(&self.plan, addresses));
        let is_same = match (&self.tls, &tls) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        self.tls = tls;
        if !is_same {
            self.watch_certificates();
        }
        self.access_log = access_log;
    }
}

/// Whether nothing changes for connections that come.
fn is_same(before: &Plan, now: &Plan) -> bool {
    before.listen == now.listen
        && before.tls == now.tls
        && before.trusted_proxies == now.trusted_proxies
        && before.trusts_unix_peers == now.trusts_unix_peers
        && before.limits == now.limits
        && before.metrics == now.metrics
        && before.log.slow == now.log.slow
        && before.site.error_pages == now.site.error_pages
        && is_same_access_log(before, now)
}

fn is_same_access_log(before: &Plan, now: &Plan) -> bool {
    before.log.access == now.log.access
        && before.log.access_format == now.log.access_format
        && before.log_files.access == now.log_files.access
}
