//! A short question to a program: what it prints, within a time.

use std::{process::Stdio, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{Command, How, Input, SpawnError, child::how};

/// Bytes kept of each stream.
const MOST: u64 = 1 << 20;

/// What a program said before it ended.
#[derive(Clone, Debug)]
pub struct Captured {
    pub how: How,
    pub stdout: String,
    pub stderr: String,
}

/// Why a program gave no answer.
#[derive(Debug, Error)]
pub enum CaptureError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("{program} did not end within {} s", within.as_secs_f32())]
    Late { program: String, within: Duration },
}

impl Command {
    /// Runs to the end; a program that takes longer than `within` is killed.
    pub async fn capture(self, within: Duration) -> Result<Captured, CaptureError> {
        let program = self.program.display().to_string();
        let (prepared, input) = self.prepare(Stdio::piped(), Stdio::piped())?;
        // Killed when it is dropped.
        let mut process = prepared.spawn_watched()?;
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let stdin = process.stdin.take();
        let told = async move {
            let (Input::Closed(bytes) | Input::Open(bytes), Some(mut stdin)) = (input, stdin)
            else {
                return;
            };
            // Who does not listen may still answer.
            stdin.write_all(&bytes).await.ok();
        };
        let ended = async { tokio::join!(told, read(stdout), read(stderr), process.wait()) };
        let Ok(((), stdout, stderr, status)) = timeout(within, ended).await else {
            return Err(CaptureError::Late { program, within });
        };
        Ok(Captured { how: how(status.ok()), stdout, stderr })
    }
}

/// Reads to the end, and keeps the beginning.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    // What an unreadable stream said before is all there is.
    (&mut stream).take(MOST).read_to_end(&mut kept).await.ok();
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    String::from_utf8_lossy(&kept).into_owned()
}
