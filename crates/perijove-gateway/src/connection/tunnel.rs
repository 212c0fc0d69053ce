//! An upgraded connection: joined to its upstream for as long as the route's guard lets it.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Activity, Body, Client, Head, Question, Route, Verdict, buffers, meter::Spoken, note::Note,
    proxy::Farewell, request::Upgrade,
};

use super::{
    Door,
    answer::{Wire, push_status, push_strict_transport},
    closing,
    http1::Connection,
    outgoing::Outgoing,
    sending::Sending,
};

/// Writes the head of the 101 and joins both sides, until they have ended, the guard says no, or
/// the gateway stops.
pub(super) async fn join(mut connection: Connection, upgrade: Upgrade, mut note: Note) {
    let counted = connection.door.open(Spoken::Upgraded);
    let rules = connection.door.rules.clone();
    note.upgrade();
    let Upgrade { answer, tunnel, route, head, client, ask_again } = upgrade;
    let mut out = Outgoing::new();
    push_head(out.small(), &answer, &head, &connection.door);
    // It is counted before anybody can know that it stands.
    let open = Open::new(&route);
    let mut sending = Sending::begin(out, (Body::Empty, Wire::Nothing), &connection.stream);
    let end = poll_fn(|context| sending.poll(&mut connection, &mut None, context)).await;
    connection.watch.disarm();
    drop(sending);
    if end.is_err() {
        return note.end(&rules, closing::CLIENT_LEFT, 0);
    }
    let leftover = Bytes::copy_from_slice(&connection.buffer);
    connection.buffer.clear();
    buffers::give_back(&mut connection.buffer);
    let Connection { stream, watch, .. } = connection;
    let farewell = async {
        tokio::select! {
            () = refusal(&route, &head, &client, ask_again) => {
                tracing::info!(request_id = &*client.request_id, "an open connection may not stay");
                Farewell::Refused
            }
            () = poll_fn(|context| watch.poll_farewell(context)) => Farewell::Stopping,
        }
    };
    tunnel.join(stream, leftover, route.limits.upgrade_silence, farewell).await;
    drop(open);
    drop(counted);
    note.end(&rules, answer.status, 0);
}

fn push_head(out: &mut Vec<u8>, answer: &crate::Response, head: &Head, door: &Door) {
    push_status(out, answer.status);
    out.extend_from_slice(answer.fields.as_bytes());
    out.extend_from_slice(b"Connection: Upgrade\r\n");
    if let Some(protocol) = head.upgrade().filter(|_| !answer.fields.contains("upgrade")) {
        out.extend_from_slice(b"Upgrade: ");
        out.extend_from_slice(protocol);
        out.extend_from_slice(b"\r\n");
    }
    push_strict_transport(out, door);
    out.extend_from_slice(b"\r\n");
}

/// Ends when the guard no longer lets the connection stand.
async fn refusal(route: &Route, head: &Head, client: &Client, ask_again: Option<Duration>) {
    let mut wait = ask_again;
    let Some(guard) = &route.guard else { return pending().await };
    while let Some(time) = wait {
        tokio::time::sleep(time).await;
        match guard.check(Question { head, client, is_open: true }).await {
            Verdict::Pass(pass) => wait = pass.ask_again,
            Verdict::Refuse(_) | Verdict::Deny(_) | Verdict::Reroute(_) => return,
        }
    }
    pending::<()>().await;
}

/// Counts an upgraded connection for as long as it stands.
struct Open {
    activity: Arc<Activity>,
}

impl Open {
    fn new(route: &Route) -> Self {
        route.activity.upgrade_opened();
        Self { activity: route.activity.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.upgrade_closed();
    }
}
