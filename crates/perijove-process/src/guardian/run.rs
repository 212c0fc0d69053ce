//! The life of a guardian, from its start to its end. It has one thread and no runtime.

use std::{
    io::{self, Write as _},
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
    process::{ExitCode, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{io::ioctl_fionbio, process::Pid};

use super::{
    Answer, Claim, Handle, adopt,
    detach::{fork_away, leave_streams},
    log::Log,
    memory::Memory,
    signals::Signals,
    spec::{self, Heard, Spec},
    status::{Ended, Record, Why},
    watch::{Server, Watch},
};
use crate::{Command, Input, ParentDeath, ProcessIdentity, Tail, group::Kept, system};

/// Runs as a guardian: reads what to do on the standard input, says on the standard output whether
/// it was done, and returns when the server has ended. Must be called before any thread is started.
pub fn run() -> ExitCode {
    let adopted = adopt::named(std::env::args_os());
    let begun = spec::from_stdin().and_then(|heard| {
        // One that was forked with its server has left already.
        if adopted.is_none() {
            fork_away()?;
        }
        Ok(heard)
    });
    let started = begun.map_err(|error| error.to_string()).and_then(|heard| begin(heard, adopted));
    let (answer, guardian) = match started {
        Ok((handle, guardian)) => (Answer::Started(handle), Some(guardian)),
        Err(reason) => (Answer::Refused(reason), None),
    };
    // A starter that is gone finds the status file when it comes back.
    say(&answer).ok();
    let Some(guardian) = guardian else { return ExitCode::FAILURE };
    leave_streams().ok();
    guardian.finish()
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&serde_json::to_vec(answer)?)?;
    stdout.flush()
}

/// A guardian with its server started.
struct Guardian {
    record: Record,
    status: std::path::PathBuf,
    watch: Watch,
    /// Until the end is on record.
    _claim: Claim,
}

fn begin(heard: Heard, adopted: Option<Pid>) -> Result<(Handle, Guardian), String> {
    let Heard { spec, descriptors, claim: number } = heard;
    let because = |what: String| move |error: io::Error| format!("{what}: {error}");
    let claim = Claim::inherit(number).map_err(because("could not keep the claim".to_owned()))?;
    system::set_name(c"perijove-guard");
    system::become_subreaper().map_err(because("could not become a subreaper".to_owned()))?;
    let signals = Signals::catch().map_err(because("could not catch signals".to_owned()))?;
    let log = Log::open(&spec.log)
        .map_err(because(format!("could not open the log {}", spec.log.display())))?;
    let started_at = now();
    let kill_at = spec.kill_after.map(|after| started_at + after.as_secs());
    let guardian = ProcessIdentity::own();
    let handle = Handle { process: guardian.clone(), started: started_at };
    let mut spec = spec;
    let group = spec.group.take();
    let for_account = spec.confinement.account.is_some();
    let made = group.map(|group| {
        let (kept, limits) = group.make(&mut spec.confinement.limits, for_account);
        (kept, limits, group.memory.unwrap_or_default())
    });
    let limits = made.as_ref().map(|(_, limits, _)| limits.clone()).unwrap_or_default();
    let mut record = Record {
        guardian,
        server: None,
        started_at,
        kill_at,
        ended: None,
        limits,
        out_of_memory: None,
    };
    let unwritten = because(format!("could not write the status {}", spec.status.display()));
    // Before the server is started, so that none runs of which nothing is known.
    record.write(&spec.status).map_err(&unwritten)?;
    let status = spec.status.clone();
    let since_boot = system::since_boot();
    let times = (spec.kill_after.map(|after| since_boot + after), spec.stop_grace);
    let kept = made.as_ref().map(|(kept, ..)| kept);
    let is_wrapped = spec.is_wrapped;
    let server = match adopted {
        Some(pid) => adopt_server(pid, spec, number, kept),
        None => start_server(spec, descriptors, kept),
    };
    let server = match server {
        Ok(server) => server,
        Err(reason) => {
            let last_lines = vec![reason.clone()];
            record.ended = Some(Ended { why: Why::Itself, how: None, at: now(), last_lines });
            // What is returned says the same.
            record.write_end(&status).ok();
            return Err(reason);
        }
    };
    record.server = Some(server.pid.as_raw_nonzero().get());
    let recorded = record.write(&status);
    let memory = made.map(|(kept, _, limit)| Memory::watch(kept, limit, status.clone()));
    let watch = Watch::new((server, is_wrapped), signals, log, times, memory);
    let mut guardian = Guardian { record, status, watch, _claim: claim };
    if let Err(error) = recorded {
        guardian.watch.end_now();
        guardian.finish();
        return Err(unwritten(error));
    }
    Ok((handle, guardian))
}

/// Takes in a server that was forked, before it is told who it is to be.
fn adopt_server(
    pid: Pid,
    spec: Spec,
    number: RawFd,
    group: Option<&Kept>,
) -> Result<Server, String> {
    let joined = group.map_or(Ok(()), |group| group.take(pid.as_raw_nonzero().get()));
    joined.and_then(|()| adopt::server(pid, spec, number)).map_err(|error| error.to_string())
}

fn start_server(
    spec: Spec,
    descriptors: Vec<RawFd>,
    group: Option<&Kept>,
) -> Result<Server, String> {
    let failed = |error: io::Error| error.to_string();
    let (output, print) = io::pipe().map_err(failed)?;
    let output = OwnedFd::from(output);
    ioctl_fionbio(&output, true).map_err(|error| failed(error.into()))?;
    let mut command = Command::new(spec.program).arguments(spec.arguments);
    command.environment =
        spec.environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    command.folder = Some(spec.folder);
    command.groups = group.map_or(Ok(Vec::new()), Kept::doors).map_err(failed)?;
    command.account = spec.confinement.account;
    command.limits = spec.confinement.limits;
    command.sandbox = spec.confinement.sandbox;
    command.input = Input::Closed(spec.input.into_bytes());
    command.is_session = true;
    // Without its guardian nobody would hold the server.
    command.parent_death = ParentDeath::Terminates;
    command.descriptors = descriptors.into_iter().map(inherited).collect();
    let err = print.try_clone().map_err(failed)?;
    let (prepared, input) =
        command.prepare(Stdio::from(print), Stdio::from(err)).map_err(|error| error.to_string())?;
    let mut process = prepared.spawn().map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    })?;
    let Input::Closed(input) = input else { return Err("no input".to_owned()) };
    let stdin = process.stdin.take().map(OwnedFd::from);
    if let Some(stdin) = &stdin {
        ioctl_fionbio(stdin, true).map_err(|error| failed(error.into()))?;
    }
    let pid = Pid::from_child(&process);
    Ok(Server { pid, output: Some(output), input: stdin.map(|stdin| (stdin, input)) })
}

/// Takes a descriptor that was inherited under an agreed number.
pub(super) fn inherited(number: RawFd) -> (OwnedFd, RawFd) {
    // SAFETY: the starter passed a descriptor under this number, and nothing here has used it.
    #[expect(unsafe_code, reason = "an inherited descriptor is known by its number only")]
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    (descriptor, number)
}

impl Guardian {
    fn finish(mut self) -> ExitCode {
        let (why, how, tail): (Why, _, Tail) = self.watch.until_ended();
        self.record.out_of_memory = self.watch.out_of_memory();
        self.record.ended =
            Some(Ended { why, how: Some(how), at: now(), last_lines: tail.lines() });
        match self.record.write_end(&self.status) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
