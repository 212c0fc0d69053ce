//! What to run: program, arguments, the complete environment, account, folder, limits, descriptors.

mod steps;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::fd::{OwnedFd, RawFd},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Stdio,
};

use perijove_confine::{Account, Limits, Sandbox};
use thiserror::Error;

use steps::Steps;

/// A process to be started. It inherits nothing that is not named here: no variable, no
/// descriptor.
#[derive(Debug)]
pub struct Command {
    /// An absolute path; nothing is searched.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// The complete environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// Entered after the account is taken; `None`: the parent's.
    pub folder: Option<PathBuf>,
    pub input: Input,
    /// Each with the number at which it arrives, 3 or more.
    pub descriptors: Vec<(OwnedFd, RawFd)>,
    /// Files to which it writes `0`, first of all, to join the control groups they belong to.
    pub groups: Vec<OwnedFd>,
    /// `None`: the parent's. Needs root.
    pub account: Option<Account>,
    pub limits: Limits,
    /// Which files are all that it may use; `None`: whatever the account may.
    pub sandbox: Option<Sandbox>,
    /// Which permissions its files do not get; `None`: as the parent's.
    pub umask: Option<u32>,
    pub parent_death: ParentDeath,
    /// Whether it leads a session (and so a process group) of its own.
    pub is_session: bool,
}

/// What a child reads on its standard input.
#[derive(Default)]
pub enum Input {
    #[default]
    Null,
    /// These bytes, then the end of the file.
    Closed(Vec<u8>),
    /// These bytes, then nothing until the parent is gone: the end of the file tells it so.
    Open(Vec<u8>),
}

impl std::fmt::Debug for Input {
    // The bytes may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Closed(_) => "Closed",
            Self::Open(_) => "Open",
        })
    }
}

/// What the kernel does to a child when the thread that started it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParentDeath {
    #[default]
    Ignored,
    /// SIGTERM.
    Terminates,
    /// SIGKILL.
    Kills,
}

/// Why a process was not started.
#[derive(Debug, Error)]
pub enum SpawnError {
    #[error("{} is not an absolute path", program.display())]
    Relative { program: PathBuf },
    #[error("descriptor {number} cannot be passed: 0 to 2 are the standard streams")]
    Descriptor { number: RawFd },
    #[error("could not start {}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
}

impl Command {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: None,
            input: Input::Null,
            descriptors: Vec::new(),
            groups: Vec::new(),
            account: None,
            limits: Limits::default(),
            sandbox: None,
            umask: None,
            parent_death: ParentDeath::Ignored,
            is_session: false,
        }
    }

    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The command as the standard library takes it, and what is to be written to its input.
    pub(crate) fn prepare(self, out: Stdio, err: Stdio) -> Result<(Prepared, Input), SpawnError> {
        if !self.program.is_absolute() {
            return Err(SpawnError::Relative { program: self.program });
        }
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(&self.environment);
        command.stdout(out).stderr(err).stdin(match self.input {
            Input::Null => Stdio::null(),
            Input::Closed(_) | Input::Open(_) => Stdio::piped(),
        });
        let program = self.program.clone();
        let (steps, input) = Steps::prepare(self)?;
        // SAFETY: the closure only makes system calls on values prepared before the fork: it
        // neither allocates nor takes a lock.
        #[expect(unsafe_code, reason = "nothing else runs code between fork and exec")]
        unsafe {
            command.pre_exec(move || steps.take())
        };
        Ok((Prepared { program, command }, input))
    }
}

/// A command ready to be forked.
#[derive(Debug)]
pub(crate) struct Prepared {
    program: PathBuf,
    command: std::process::Command,
}

impl Prepared {
    pub(crate) fn spawn(mut self) -> Result<std::process::Child, SpawnError> {
        self.command.spawn().map_err(|source| SpawnError::Spawn { program: self.program, source })
    }

    /// The same, watched by the runtime of the calling thread, and killed when it is dropped.
    pub(crate) fn spawn_watched(self) -> Result<tokio::process::Child, SpawnError> {
        self.spawn_in_runtime(true)
    }

    /// The same, and it lives on when it is dropped.
    pub(crate) fn spawn_free(self) -> Result<tokio::process::Child, SpawnError> {
        self.spawn_in_runtime(false)
    }

    fn spawn_in_runtime(self, ends_with_us: bool) -> Result<tokio::process::Child, SpawnError> {
        tokio::process::Command::from(self.command)
            .kill_on_drop(ends_with_us)
            .spawn()
            .map_err(|source| SpawnError::Spawn { program: self.program, source })
    }
}
