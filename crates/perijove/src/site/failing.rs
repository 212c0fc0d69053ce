//! Why a site does not start, for people.

use std::path::Path;

use perijove_apps::StartError;
use perijove_gateway::BindError;
use perijove_hub::OpenError;
use thiserror::Error;

use crate::{
    failure::{Failure, Kind},
    folders::FolderError,
    system,
};

/// Something could not be done with a file.
#[derive(Debug, Error)]
#[error("could not use {path}")]
struct FileError {
    path: String,
    source: std::io::Error,
}

pub(super) fn file(path: &Path, source: std::io::Error) -> Failure {
    Failure::new(Kind::Unavailable, FileError { path: path.display().to_string(), source })
}

pub(super) fn folders(error: FolderError) -> Failure {
    let hint = match &error {
        FolderError::Busy { .. } => {
            "stop it with `perijove stop`, or give this one another `runtime-folder`"
        }
        FolderError::NotOurs { .. } | FolderError::Io { .. } => {
            "choose others with `state-folder` and `runtime-folder`"
        }
    };
    Failure::new(Kind::Unavailable, error).hint(hint)
}

pub(super) fn bind(error: BindError) -> Failure {
    let hint = match &error {
        BindError::InUse { address } => {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            match port.and_then(system::holder_of) {
                Some(holder) => {
                    format!("{holder} listens there: stop it, or choose another address")
                }
                None => "choose another address with --listen or `listen`".to_owned(),
            }
        }
        BindError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for root, or for who has CAP_NET_BIND_SERVICE".to_owned()
        }
        BindError::Io { .. } => "is the address one of this machine?".to_owned(),
    };
    Failure::new(Kind::Unavailable, error).hint(hint)
}

pub(super) fn hub(error: OpenError) -> Failure {
    let kind = match &error {
        OpenError::NoAuthority | OpenError::LongName { .. } => Kind::Configuration,
        OpenError::Locked { .. } | OpenError::State(_) | OpenError::Io { .. } => Kind::Unavailable,
    };
    Failure::new(kind, error).hint("notebooks keep their state in `state-folder`")
}

/// Why an application does not start, with the last lines it wrote.
pub(super) fn application(error: StartError) -> Failure {
    let kind = match &error {
        StartError::Application { .. } | StartError::Worker { .. } => Kind::Configuration,
        StartError::Python(_) | StartError::Server(_) | StartError::Sockets { .. } => {
            Kind::Unavailable
        }
        StartError::Stopped => Kind::Other,
    };
    let (hint, lines) = (error.hint(), error.last_lines().to_vec());
    let failure = Failure::new(kind, error).quote(lines);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
