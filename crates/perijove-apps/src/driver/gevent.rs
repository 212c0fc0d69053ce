//! gevent: its WSGI server with a greenlet for each request; it says how many when it is ready.

use std::io;

use super::{Launch, in_process};
use crate::Plan;

pub(super) fn launch(plan: &Plan, number: u64) -> io::Result<Launch> {
    in_process::launch(plan, number, "gevent", None)
}
