//! Whether memory ran out, seen by the kernel's count of what it has ended for that.

use std::path::PathBuf;

use super::{
    run::now,
    status::{OutOfMemory, Record},
};
use crate::group::Kept;

/// The group of a server whose memory is limited.
#[derive(Debug)]
pub(super) struct Memory {
    group: Kept,
    limit: u64,
    /// Where it is put on record.
    status: PathBuf,
    /// What the kernel had counted before this server began.
    before: u64,
    ran_out: Option<OutOfMemory>,
}

impl Memory {
    pub(super) fn watch(group: Kept, limit: u64, status: PathBuf) -> Self {
        let before = group.ended_for_memory().unwrap_or_default();
        Self { group, limit, status, before, ran_out: None }
    }

    pub(super) fn ran_out(&self) -> Option<OutOfMemory> {
        self.ran_out
    }

    /// What is to be said in the log, when processes were ended since the last look.
    pub(super) fn look(&mut self) -> Option<String> {
        let times = self.group.ended_for_memory()?.saturating_sub(self.before);
        let known = self.ran_out.map_or(0, |known| known.times);
        if times <= known {
            return None;
        }
        let ran_out = OutOfMemory { times, at: now(), limit: self.limit };
        self.ran_out = Some(ran_out);
        if let Ok(mut record) = Record::read(&self.status) {
            record.out_of_memory = Some(ran_out);
            // It is in the log, too.
            record.write(&self.status).ok();
        }
        let (ended, mebibytes) = (times - known, self.limit >> 20);
        let what = if ended == 1 { "a process" } else { "processes" };
        Some(format!(
            "--- out of memory: the limit of {mebibytes} MiB was reached, and {what} ended ---\n"
        ))
    }
}
