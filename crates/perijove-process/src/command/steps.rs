//! What the child does between fork and exec.

use std::{
    ffi::CString,
    fs::File,
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    os::unix::ffi::OsStrExt as _,
    sync::{Mutex, PoisonError},
};

use perijove_confine::{Confinement, Failed, Prepared};
use rustix::{
    fs::Mode,
    io::{fcntl_dupfd_cloexec, write},
    process::{Pid, Signal, chdir, getpid, setsid, umask},
    stdio::stderr,
};

use super::{Command, Input, ParentDeath, SpawnError};
use crate::system;

/// Prepared before the fork, since the child of a program with threads may not allocate.
#[derive(Debug)]
pub(super) struct Steps {
    is_session: bool,
    umask: Option<Mode>,
    groups: Vec<OwnedFd>,
    confinement: Prepared,
    folder: Option<CString>,
    parent_death: Option<(Signal, Pid)>,
    /// The sources lie above all targets, so that no copy overwrites a source.
    descriptors: Vec<(OwnedFd, RawFd)>,
}

impl Steps {
    pub(super) fn prepare(command: Command) -> Result<(Self, Input), SpawnError> {
        if let Some((_, number)) = command.descriptors.iter().find(|(_, number)| *number < 3) {
            return Err(SpawnError::Descriptor { number: *number });
        }
        let fail = |source| SpawnError::Spawn { program: command.program.clone(), source };
        let folder = command
            .folder
            .map(|folder| CString::new(folder.as_os_str().as_bytes()))
            .transpose()
            .map_err(|error| fail(error.into()))?;
        let parent_death = match command.parent_death {
            ParentDeath::Ignored => None,
            ParentDeath::Terminates => Some(Signal::TERM),
            ParentDeath::Kills => Some(Signal::KILL),
        };
        let confinement = Confinement {
            account: command.account,
            limits: command.limits,
            sandbox: command.sandbox,
        };
        let steps = Self {
            is_session: command.is_session,
            umask: command.umask.map(Mode::from_raw_mode),
            groups: command.groups,
            confinement: confinement.prepare().map_err(fail)?,
            folder,
            parent_death: parent_death.map(|signal| (signal, getpid())),
            descriptors: above_targets(command.descriptors).map_err(fail)?,
        };
        Ok((steps, command.input))
    }

    /// Runs in the child: system calls only.
    pub(super) fn take(&self) -> io::Result<()> {
        if self.is_session {
            setsid()?;
        }
        if let Some(mask) = self.umask {
            umask(mask);
        }
        for group in &self.groups {
            write(group, b"0")?;
        }
        self.confinement.take().map_err(complain)?;
        if let Some(folder) = &self.folder {
            chdir(folder.as_c_str())?;
        }
        system::close_on_exec_from(3);
        for (source, target) in &self.descriptors {
            place(source, *target)?;
        }
        // After the account, which clears it.
        if let Some((signal, parent)) = self.parent_death {
            system::die_with(parent, signal)?;
        }
        Ok(())
    }
}

/// Says on the child's standard error what failed: the parent learns of the error's number only.
fn complain(failed: Failed) -> io::Error {
    for part in ["perijove: a process could not ", failed.what, "\n"] {
        write(stderr(), part.as_bytes()).ok();
    }
    failed.source
}

fn place(source: &OwnedFd, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 is async-signal-safe, and this child, which has one thread and runs nothing
    // but these steps until exec, owns no other use of the target number.
    #[expect(unsafe_code, reason = "a descriptor must arrive at a number agreed on")]
    let result = unsafe { libc::dup2(source.as_raw_fd(), target) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn above_targets(descriptors: Vec<(OwnedFd, RawFd)>) -> io::Result<Vec<(OwnedFd, RawFd)>> {
    let Some(highest) = descriptors.iter().map(|(_, target)| *target).max() else {
        return Ok(Vec::new());
    };
    let above = descriptors
        .into_iter()
        .map(|(source, target)| Ok((fcntl_dupfd_cloexec(&source, highest + 1)?, target)))
        .collect::<io::Result<Vec<_>>>()?;
    // Now that the originals, which may lie on a target, are closed.
    for (_, target) in &above {
        reserve(*target)?;
    }
    Ok(above)
}

/// Keeps a free target number taken for good. Otherwise the pipe through which the standard
/// library learns that exec failed could get this number, and be overwritten in the child.
fn reserve(target: RawFd) -> io::Result<()> {
    // Guards the list of what is reserved; nobody waits while holding it.
    static RESERVED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let got = fcntl_dupfd_cloexec(File::open("/dev/null")?, target)?;
    if got.as_raw_fd() == target {
        reserved.push(got);
    }
    mem::drop(reserved);
    Ok(())
}
