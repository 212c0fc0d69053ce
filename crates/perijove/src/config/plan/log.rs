//! What the logs are to be like.

use std::{path::PathBuf, sync::Arc};

use perijove_gateway::{LogFormat, Rotation};

use super::Check;
use crate::config::{AccessLog, Log};

/// The files of the logs, where they have some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFiles {
    pub(crate) program: Option<PathBuf>,
    pub(crate) site: Option<PathBuf>,
    pub(crate) access: Option<PathBuf>,
    pub(crate) audit: Option<PathBuf>,
}

pub(super) fn files(log: &Log, check: &mut Check<'_>) -> LogFiles {
    if let Err(error) = access_format(log) {
        let names: Vec<&str> = perijove_gateway::LogTemplate::names().collect();
        let hint = format!("known are {} and header:NAME", names.join(", "));
        check.wrong("log.access-format", error, &hint);
    }
    if log.rotate.as_ref().is_some_and(|rotate| rotate.size.0 < 1024) {
        check.wrong("log.rotate.size", "must be at least 1K", "");
    }
    if log.rotate.as_ref().is_some_and(|rotate| rotate.keep > 1000) {
        check.wrong("log.rotate.keep", "must be at most 1000", "");
    }
    let at = |path: &Option<PathBuf>| path.as_ref().map(|path| check.layers.folder.join(path));
    let is_on = log.access != AccessLog::Off;
    let files = LogFiles {
        program: at(&log.file),
        site: at(&log.site_file),
        access: at(&log.access_file).filter(|_| is_on),
        audit: at(&log.audit),
    };
    let named = [&files.program, &files.site, &files.access, &files.audit];
    let keys = ["log.file", "log.site-file", "log.access-file", "log.audit"];
    for (nth, (file, key)) in named.iter().zip(keys).enumerate() {
        if file.is_some() && named.iter().take(nth).any(|other| other == file) {
            check.wrong(key, "another log goes there", "each log needs a file of its own");
        }
    }
    files
}

/// What the line of a request looks like; none when there are no such lines.
pub(crate) fn access_format(
    log: &Log,
) -> Result<Option<LogFormat>, perijove_gateway::TemplateError> {
    Ok(Some(match (log.access, log.access_format.as_deref()) {
        (AccessLog::Off, _) => return Ok(None),
        (AccessLog::Json, None) | (_, Some("json")) => LogFormat::Json,
        (_, None | Some("text")) => LogFormat::Text,
        (_, Some("common")) => LogFormat::Common,
        (_, Some("combined")) => LogFormat::Combined,
        (_, Some(template)) => LogFormat::Template(Arc::new(template.parse()?)),
    }))
}

/// When the files are exchanged for new ones.
pub(crate) fn rotation(log: &Log) -> Option<Rotation> {
    log.rotate.as_ref().map(|rotate| Rotation { size: rotate.size.0, keep: rotate.keep })
}
