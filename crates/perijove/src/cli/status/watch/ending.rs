//! Signals that would end the program, told to whoever waits for something else meanwhile.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    process::ExitCode,
    thread,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};

/// Signals that have come, from the moment this is made.
pub(super) struct Ending {
    /// Can be read when one has come: its number.
    pub(super) wakes: UnixStream,
}

impl Ending {
    pub(super) fn catch() -> io::Result<Self> {
        let (wakes, mut told) = UnixStream::pair()?;
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let caught = {
            let _inside = runtime.enter();
            Caught::new()?
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let number = runtime.block_on(caught.first());
            // An error means that nobody waits any more.
            told.write_all(&[number]).ok();
        })?;
        Ok(Self { wakes })
    }

    /// How a program ends that was ended by such a signal, by the custom of shells.
    pub(super) fn code(&self) -> ExitCode {
        let mut number = [0];
        (&self.wakes).read_exact(&mut number).ok();
        let [number] = number;
        ExitCode::from(128_u8.saturating_add(number))
    }
}

struct Caught {
    hang_up: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Caught {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the one that comes first.
    async fn first(mut self) -> u8 {
        let kind = tokio::select! {
            _ = self.hang_up.recv() => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        u8::try_from(kind.as_raw_value()).unwrap_or_default()
    }
}
