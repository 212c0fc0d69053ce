//! uvicorn: each process takes as many requests as come, or as its own `--limit-concurrency` lets.

use std::io;

use super::{Launch, Seat, in_process};
use crate::Plan;

pub(super) fn launch(plan: &Plan, number: u64, seat: Seat) -> io::Result<Launch> {
    in_process::launch(plan, (number, seat), "uvicorn", None)
}
