//! Where the program's own log goes: standard error, as text for people or JSON for machines.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogLevel};

/// Sends the log of the whole program to standard error. A second call changes nothing.
pub(crate) fn start(format: LogFormat, level: LogLevel) {
    let quiet = Targets::new()
        .with_default(LevelFilter::from(level))
        // What libraries tell below a warning is about themselves, not about the site.
        .with_targets(
            ["hyper", "h2", "rustls", "mio", "tokio"].map(|name| (name, LevelFilter::WARN)),
        );
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(
            fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(is_coloured(std::io::stderr().is_terminal()))
                .with_target(false)
                .with_filter(quiet),
        ),
        LogFormat::Json => Box::new(
            fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_filter(quiet),
        ),
    };
    // An error means that a log was started before: tests in one process do that.
    drop(tracing_subscriber::registry().with(lines).try_init());
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
