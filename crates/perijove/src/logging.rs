//! Where the program's own log goes, and what the site's processes print: standard error or files,
//! as text for people or JSON for machines.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use perijove_gateway::{LogFile, Rotation};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    config::{
        Log, LogFormat, LogLevel,
        plan::{LogFiles, log::rotation},
    },
    failure::{Failure, Kind},
};

/// What the site's processes print, by its name in the log.
const OUTPUT: &str = "perijove::output";

/// Who did what to notebooks, by its name in the log.
const AUDIT: &str = "audit";

/// The files of this process, to be opened again when somebody has moved them away.
static FILES: OnceLock<Vec<Shared>> = OnceLock::new();

static LEVEL: OnceLock<Level> = OnceLock::new();

/// A log file cannot be used.
#[derive(Debug, Error)]
#[error("the log cannot be written to {path}")]
struct FileError {
    path: String,
    source: io::Error,
}

/// Sends the log of the whole program where it is to go. A second call changes nothing.
pub(crate) fn start(log: &Log, files: &LogFiles) -> Result<(), Failure> {
    let open =
        |path: &Option<_>| path.as_deref().map(|p| Shared::open(p, rotation(log))).transpose();
    let (program, site) = (open(&files.program)?, open(&files.site)?);
    let audit = open(&files.audit)?;
    let mut layers = Vec::new();
    if let Some(file) = site.clone() {
        let all = Targets::new().with_target(OUTPUT, LevelFilter::TRACE);
        layers.push(lines(log.format, file, false).with_filter(all).boxed());
    }
    if let Some(file) = audit.clone() {
        let all = Targets::new().with_target(AUDIT, LevelFilter::TRACE);
        layers.push(lines(LogFormat::Json, file, false).with_filter(all).boxed());
    }
    let elsewhere = [(OUTPUT, site.is_some()), (AUDIT, audit.is_some())];
    let elsewhere = elsewhere.map(|(target, is_so)| is_so.then_some(target));
    let (ours, handle) = reload::Layer::new(of_program(log.level, elsewhere));
    let program_lines = match program.clone() {
        Some(file) => lines(log.format, file, false),
        None => lines(log.format, io::stderr, is_coloured(io::stderr().is_terminal())),
    };
    layers.push(program_lines.with_filter(ours).boxed());
    FILES.get_or_init(|| program.into_iter().chain(site).chain(audit).collect());
    let subscriber = tracing_subscriber::registry().with(layers);
    // An error means that a log was started before: tests in one process do that.
    if subscriber.try_init().is_ok() {
        LEVEL.get_or_init(|| Level { handle, elsewhere });
    }
    Ok(())
}

/// Tells more or less from now on.
pub(crate) fn change(level: LogLevel) {
    let Some(Level { handle, elsewhere }) = LEVEL.get() else { return };
    if let Err(error) = handle.reload(of_program(level, *elsewhere)) {
        tracing::warn!(%error, "the level of the log stays as it was");
    }
}

/// What is told of the program itself.
fn of_program(level: LogLevel, elsewhere: [Option<&'static str>; 2]) -> Targets {
    let quiet = Targets::new()
        .with_default(LevelFilter::from(level))
        // What libraries tell below a warning is about themselves, not about the site.
        .with_targets(
            ["hyper", "h2", "rustls", "mio", "tokio"].map(|name| (name, LevelFilter::WARN)),
        );
    // What was done to notebooks is told whatever else is not.
    let all = quiet.with_target(AUDIT, LevelFilter::INFO);
    elsewhere.into_iter().flatten().fold(all, |all, name| all.with_target(name, LevelFilter::OFF))
}

/// How the level of the log can be changed.
struct Level {
    handle: reload::Handle<Targets, Registry>,
    /// What has a file of its own.
    elsewhere: [Option<&'static str>; 2],
}

/// Opens the files again.
pub(crate) fn reopen() {
    for file in FILES.get().into_iter().flatten() {
        if let Err(error) = file.lock().reopen() {
            tracing::warn!(%error, "could not open a log again, writing to the old file");
        }
    }
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn lines<W>(format: LogFormat, writer: W, is_coloured: bool) -> Lines
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => {
            Box::new(fmt::layer().with_writer(writer).with_ansi(is_coloured).with_target(false))
        }
        LogFormat::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(writer)),
    }
}

/// A log file that all threads write to, one line at a time.
#[derive(Clone, Debug)]
struct Shared {
    file: Arc<Mutex<LogFile>>,
}

impl Shared {
    fn open(path: &Path, rotation: Option<Rotation>) -> Result<Self, Failure> {
        let file = LogFile::open(path, rotation).map_err(|source| {
            let error = FileError { path: path.display().to_string(), source };
            Failure::new(Kind::Unavailable, error)
                .hint("does its folder exist, and may it be used?")
        })?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lock().append(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Shared {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Whether what is written there may be coloured (<https://no-color.org>).
pub(crate) fn is_coloured(is_terminal: bool) -> bool {
    is_terminal && !crate::config::layers::is_no_color()
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
