//! What is noted of one request while it is answered: for the log, the meter and the traces.
//!
//! When nobody wants to know anything, nothing is noted, and no clock is read.

use std::time::{Duration, Instant};

use crate::{
    Client, Framing, Head, Label, Plan, Route,
    access_log::{self, Facts},
    connection::Door,
    meter::{Ended, Method},
    trace::FinishedTrace,
};

/// What is noted of one request.
#[derive(Debug, Default)]
pub(crate) struct Note {
    /// `None` when nobody wants to know.
    began: Option<Instant>,
    /// When the answer began.
    first: Option<Instant>,
    method: Method,
    label: Label,
    /// Bytes that the request's body was said to have.
    received: u64,
    is_upgrade: bool,
    is_counted: bool,
    /// For those who want more than numbers.
    subject: Option<Box<Subject>>,
}

/// Who asked for what.
#[derive(Debug)]
struct Subject {
    head: Head,
    client: Client,
    is_logged: bool,
}

impl Note {
    /// Begins, and follows the request when requests are traced. `is_trusted`: the peer is.
    pub(crate) fn begin(door: &Door, head: &Head, client: &mut Client, is_trusted: bool) -> Self {
        let rules = &*door.rules;
        let is_logged = door.is_logged && rules.access_log.is_some();
        if door.is_traced
            && let Some(tracer) = &rules.tracer
        {
            client.trace = Some(tracer.begin(head, is_trusted));
        }
        let is_traced = client.trace.as_ref().is_some_and(|trace| trace.is_sampled);
        let is_told = is_logged || is_traced || (door.is_logged && rules.slow.is_some());
        // Those who watch and those who command are no visitors.
        let is_counted = door.is_logged && rules.meter.is_some();
        if !is_told && !is_counted {
            return Self::default();
        }
        let subject = is_told
            .then(|| Box::new(Subject { head: head.clone(), client: client.clone(), is_logged }));
        let received = match head.framing() {
            Framing::Length(length) => length,
            Framing::None | Framing::Chunked => 0,
        };
        Self {
            began: Some(Instant::now()),
            method: Method::of(head.method()),
            received,
            is_counted,
            subject,
            ..Self::default()
        }
    }

    /// Which route the request belongs to.
    pub(crate) fn belongs_to(&mut self, route: &Route) {
        self.label = route.label;
    }

    /// The answer begins.
    pub(crate) fn answer(&mut self) {
        if self.began.is_some() {
            self.first = Some(Instant::now());
        }
    }

    /// The connection is another protocol's from here on.
    pub(crate) fn upgrade(&mut self) {
        self.answer();
        self.is_upgrade = true;
    }

    /// All is over: the status, and the bytes of the body that were sent.
    pub(crate) fn end(self, rules: &Plan, status: u16, sent: u64) {
        let Some(began) = self.began else { return };
        let whole = began.elapsed();
        let first = self.first.map(|first| first.duration_since(began));
        if let Some(meter) = rules.meter.as_ref().filter(|_| self.is_counted) {
            meter.record(&Ended {
                label: self.label,
                method: self.method,
                status,
                whole: microseconds(whole),
                first: first.map(microseconds),
                sent,
                received: self.received,
                is_upgrade: self.is_upgrade,
            });
        }
        if let Some(subject) = &self.subject {
            self.tell(rules, subject, (status, sent), (whole, first));
        }
    }

    fn tell(
        &self,
        rules: &Plan,
        subject: &Subject,
        (status, sent): (u16, u64),
        (whole, first): (Duration, Option<Duration>),
    ) {
        let Subject { head, client, is_logged } = subject;
        let route = || match &rules.meter {
            Some(meter) => meter.name(self.label),
            None => Box::default(),
        };
        let facts = Facts { head, client, status, bytes: sent, took: whole, first };
        if let Some(log) = rules.access_log.as_ref().filter(|_| *is_logged) {
            log.write(&facts);
        }
        if let Some(slow) = rules.slow
            && !self.is_upgrade
            && whole >= slow
        {
            access_log::tell_slow(&facts);
        }
        if let (Some(tracer), Some(trace)) = (&rules.tracer, &client.trace)
            && trace.is_sampled
        {
            let told = (head, client);
            tracer.end(FinishedTrace::new(trace.clone(), told, route(), (status, sent)));
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
