//! A process that is to take this one's place: it shares its streams, and lives on when this one ends.

use std::{process::Stdio, time::Duration};

use tokio::time::timeout;

use crate::{Command, How, SpawnError, child::how};

/// A process that was started to take this one's place. Until it is let go of, it is killed with
/// this handle.
#[derive(Debug)]
pub struct Successor {
    process: tokio::process::Child,
    pid: u32,
    is_free: bool,
}

impl Successor {
    /// Starts it, with the standard output and standard error of this process.
    pub fn start(command: Command) -> Result<Self, SpawnError> {
        let (prepared, _) = command.prepare(Stdio::inherit(), Stdio::inherit())?;
        let process = prepared.spawn_free()?;
        let pid = process.id().unwrap_or_default();
        Ok(Self { process, pid, is_free: false })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> How {
        how(self.process.wait().await.ok())
    }

    /// Has it gone on return: by itself within this time, else killed.
    pub async fn end(mut self, within: Duration) {
        if timeout(within, self.process.wait()).await.is_err() {
            // It has ended then, or cannot be waited for either.
            self.process.kill().await.ok();
        }
        self.is_free = true;
    }

    /// From now on it is on its own.
    pub fn let_go(mut self) {
        self.is_free = true;
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_free {
            // It has ended already then.
            self.process.start_kill().ok();
        }
    }
}
