//! The folders of a running site: state that survives a restart, and sockets that do not.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::layers::Environment;

/// Bytes that the name of a Unix socket may have, without the zero at its end.
const SOCKET_NAME_LIMIT: usize = 107;

/// The longest name of a socket below the runtime folder.
const LONGEST_SOCKET: &str = "/notebook/0123456789abcdef/sock";

/// How long a lock that is held is waited for, and how often it is looked at.
const HELD: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// The folders of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folders {
    pub(crate) state: PathBuf,
    pub(crate) runtime: PathBuf,
}

/// What `perijove.toml` says about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) state: Option<&'a Path>,
    pub(crate) runtime: Option<&'a Path>,
    /// What tells this site from others: its configuration file, else its folder.
    pub(crate) site: &'a Path,
    /// Where relative paths begin.
    pub(crate) base: &'a Path,
}

impl Folders {
    /// Decides which folders a site has. Two sites of one account never share any by default, and
    /// a site has the same ones at every start.
    pub(crate) fn choose(wanted: Wanted<'_>, environment: &Environment) -> Self {
        let key = key_of(wanted.site);
        let state = wanted.state.map(|path| wanted.base.join(path));
        let runtime = wanted.runtime.map(|path| wanted.base.join(path));
        Self {
            state: state.unwrap_or_else(|| default_state(environment, &key)),
            runtime: runtime.unwrap_or_else(|| default_runtime(environment, &key)),
        }
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Whether every socket below the runtime folder can have its name.
    pub(crate) fn is_short_enough(&self) -> bool {
        self.runtime.as_os_str().len() + LONGEST_SOCKET.len() <= SOCKET_NAME_LIMIT
    }

    /// Makes the state folder, for this account alone.
    pub(crate) fn make_state(&self) -> Result<(), FolderError> {
        make_private(&self.state)
    }

    /// Makes both folders, for this account alone, and takes the runtime folder for this process:
    /// with the lock of the process before, where that has passed it on.
    pub(crate) fn open(&self, passed_on: Option<OwnedFd>) -> Result<Lock, FolderError> {
        make_private(&self.state)?;
        make_private(&self.runtime)?;
        if let Some(lock) = passed_on {
            return Ok(Lock { file: lock.into(), runtime: self.runtime.clone() });
        }
        let lock = Lock::take(&self.runtime)?;
        lock.note()?;
        Ok(lock)
    }
}

/// Eight hexadecimal digits that stand for a site.
fn key_of(site: &Path) -> String {
    let digest = Sha256::digest(site.as_os_str().as_encoded_bytes());
    hexadecimal(digest.get(..4).unwrap_or_default())
}

/// Two digits for each byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

fn default_state(environment: &Environment, key: &str) -> PathBuf {
    if let Some(given) = first_of(environment, "STATE_DIRECTORY") {
        return given;
    }
    let home = |below: &str| Some(Path::new(environment.get("HOME")?).join(below));
    let base = environment
        .get("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home(".local/state"))
        .unwrap_or_else(|| PathBuf::from("/var/lib"));
    base.join("perijove").join(key)
}

fn default_runtime(environment: &Environment, key: &str) -> PathBuf {
    if let Some(given) = first_of(environment, "RUNTIME_DIRECTORY") {
        return given;
    }
    let account = rustix::process::geteuid();
    let base = match environment.get("XDG_RUNTIME_DIR") {
        _ if account.is_root() => PathBuf::from("/run/perijove"),
        Some(folder) if Path::new(folder).is_dir() => Path::new(folder).join("perijove"),
        _ => PathBuf::from(format!("/tmp/perijove-{}", account.as_raw())),
    };
    base.join(key)
}

/// systemd gives several folders with colons between them.
fn first_of(environment: &Environment, variable: &str) -> Option<PathBuf> {
    environment.get(variable)?.split(':').next().map(PathBuf::from)
}

/// Makes a folder that only this account may enter. One that is there stays as it is, as long as
/// nobody else could put something into it or in its place.
fn make_private(folder: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { folder: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    let above = folder.parent().map(fs::metadata).transpose().map_err(failed)?;
    let is_ours = found.is_dir() && found.uid() == own && found.mode() & 0o022 == 0;
    let is_safe_above = above.is_none_or(|above| above.uid() == own || above.uid() == 0);
    if is_ours && is_safe_above {
        Ok(())
    } else {
        Err(FolderError::NotOurs { folder: folder.to_owned() })
    }
}

/// Holds a runtime folder for as long as it lives, or a process to which it was passed on.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    runtime: PathBuf,
}

impl Lock {
    /// For the process that follows.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Notes that it is this process that holds it.
    pub(crate) fn note(&self) -> Result<(), FolderError> {
        let failed = |source| FolderError::Io { folder: self.runtime.clone(), source };
        let process = std::process::id().to_string();
        let mut file = &self.file;
        io::Seek::rewind(&mut file).map_err(failed)?;
        self.file.set_len(0).map_err(failed)?;
        io::Write::write_all(&mut file, process.as_bytes()).map_err(failed)
    }

    fn take(runtime: &Path) -> Result<Self, FolderError> {
        let path = runtime.join("lock");
        let failed = |source| FolderError::Io { folder: runtime.to_owned(), source };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let until = Instant::now() + HELD;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { file, runtime: runtime.to_owned() }),
                // Of a perijove that was killed while it started a process, that process holds the
                // lock until it is what it was to become.
                Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(LOOK),
                Err(Errno::WOULDBLOCK) => {
                    let process = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                    return Err(FolderError::Busy { folder: runtime.to_owned(), process });
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

/// The process that noted itself down as the holder of this runtime folder.
pub(crate) fn holder(runtime: &Path) -> Option<i32> {
    fs::read_to_string(runtime.join("lock")).ok()?.trim().parse().ok()
}

/// Whether a running program holds this runtime folder.
pub(crate) fn is_locked(runtime: &Path) -> bool {
    File::open(runtime.join("lock")).is_ok_and(|file| {
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    })
}

/// Why the folders of a site cannot be used.
#[derive(Debug, Error)]
pub(crate) enum FolderError {
    #[error("could not make or use the folder {}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
    #[error("{} belongs to somebody else, or others may write there", folder.display())]
    NotOurs { folder: PathBuf },
    #[error("this site is served already, by process {process} (lock in {})", folder.display())]
    Busy { folder: PathBuf, process: String },
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path};

    use super::{Environment, FolderError, Folders, Wanted};

    fn wanted<'a>(state: Option<&'a Path>, site: &'a Path) -> Wanted<'a> {
        Wanted { state, runtime: state, site, base: Path::new("/site") }
    }

    #[test]
    fn what_is_written_wins_over_what_systemd_gives_over_the_default() {
        let site = Path::new("/site/perijove.toml");
        let systemd = Environment::from([
            ("STATE_DIRECTORY", "/var/lib/x:/var/lib/y"),
            ("RUNTIME_DIRECTORY", "/run/x"),
        ]);
        let check = |state: Option<&str>, environment: &Environment, expected: (&str, &str)| {
            let chosen = Folders::choose(wanted(state.map(Path::new), site), environment);
            assert_eq!(
                (chosen.state.to_str(), chosen.runtime.to_str()),
                (Some(expected.0), Some(expected.1))
            );
        };
        check(Some("here"), &systemd, ("/site/here", "/site/here"));
        check(Some("/there"), &systemd, ("/there", "/there"));
        check(None, &systemd, ("/var/lib/x", "/run/x"));
        let user = Environment::from([("HOME", "/home/ada")]);
        let chosen = Folders::choose(wanted(None, site), &user);
        assert!(chosen.state.starts_with("/home/ada/.local/state/perijove"), "{chosen:?}");
        assert!(chosen.is_short_enough(), "{chosen:?}");
        let other = Folders::choose(wanted(None, Path::new("/other/perijove.toml")), &user);
        assert_ne!(chosen, other);
    }

    #[test]
    fn only_one_takes_a_runtime_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folders =
            Folders { state: folder.path().join("state"), runtime: folder.path().join("run") };
        let lock = folders.open(None).unwrap();
        let process = std::process::id().to_string();
        let second = folders.open(None);
        assert!(
            matches!(&second, Err(FolderError::Busy { process: p, .. }) if *p == process),
            "{second:?}"
        );
        drop(lock);
        folders.open(None).unwrap();
    }

    #[test]
    fn a_link_is_not_followed_to_a_folder_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", folder.path().join("state")).unwrap();
        let folders =
            Folders { state: folder.path().join("state"), runtime: folder.path().join("run") };
        assert!(matches!(folders.open(None), Err(FolderError::NotOurs { .. })));
    }

    #[test]
    fn a_folder_that_is_there_keeps_its_permissions() {
        let check = |mode: u32, is_fine: bool| {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            std::fs::create_dir(&state).unwrap();
            std::fs::set_permissions(&state, std::fs::Permissions::from_mode(mode)).unwrap();
            let folders = Folders { state: state.clone(), runtime: folder.path().join("run") };
            assert_eq!(folders.open(None).is_ok(), is_fine, "{mode:o}");
            assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, mode);
        };
        check(0o700, true);
        check(0o755, true);
        check(0o775, false);
        check(0o777, false);
    }
}
