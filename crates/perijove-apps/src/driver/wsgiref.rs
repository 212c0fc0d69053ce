//! wsgiref: the standard library's server, one request at a time in each process.

use std::io;

use super::{Launch, Seat, in_process};
use crate::Plan;

pub(super) fn launch(plan: &Plan, number: u64, seat: Seat) -> io::Result<Launch> {
    in_process::launch(plan, (number, seat), "wsgiref", Some(1))
}
