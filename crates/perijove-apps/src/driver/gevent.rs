//! gevent: its WSGI server with a greenlet for each request; it says how many when it is ready.

use std::io;

use super::{Launch, Seat, in_process};
use crate::Plan;

pub(super) fn launch(plan: &Plan, number: u64, seat: Seat) -> io::Result<Launch> {
    in_process::launch(plan, (number, seat), "gevent", None)
}
