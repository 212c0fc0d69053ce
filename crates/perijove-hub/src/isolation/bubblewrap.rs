//! Bubblewrap: processes, memory, mounts and, if wanted, the network of a notebook's own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use perijove_process::Sandbox;

use super::Unable;

const PLACES: [&str; 3] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];

/// Whether it does here what is wanted of it: in many containers, and where accounts may have no
/// user namespaces, it does not. It is tried once.
pub(super) fn works() -> Result<(), Unable> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED.get_or_init(attempt).clone().map_err(|said| Unable::NoBubblewrap { said })
}

fn attempt() -> Result<(), String> {
    let program = program().ok_or("it is not installed")?;
    let mut command = Command::new(program);
    command.args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid"]);
    command.args(["--unshare-ipc", "--unshare-net", "--", "/bin/sh", "-c", "exit 0"]);
    let tried = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if tried.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
}

fn program() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A command inside.
pub(crate) struct Wrapped {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Wrapped {
    /// The same command where the places of the sandbox are all that is there. Bubblewrap must have
    /// been found to work.
    pub(crate) fn new(
        inner: (&Path, &[String]),
        sandbox: &Sandbox,
        temporary: &Path,
        has_network: bool,
    ) -> Self {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |parts: &[&str]| arguments.extend(parts.iter().map(|&part| part.to_owned()));
        add(&["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]);
        if !has_network {
            add(&["--unshare-net"]);
        }
        // First, since the folders of users may lie below it.
        add(&["--bind", &temporary.to_string_lossy(), "/tmp"]);
        // What it brings of its own.
        let is_made = |path: &&PathBuf| path.starts_with("/proc") || path.starts_with("/dev");
        let mut read: Vec<&PathBuf> = sandbox.read.iter().filter(|path| !is_made(path)).collect();
        // A folder before what lies in it.
        read.sort();
        for path in read {
            let path = path.to_string_lossy();
            add(&["--ro-bind-try", &path, &path]);
        }
        add(&["--proc", "/proc", "--dev", "/dev"]);
        for path in sandbox.change.iter().filter(|path| is_graphics(path)) {
            let path = path.to_string_lossy();
            add(&["--dev-bind-try", &path, &path]);
        }
        for path in &sandbox.write {
            let path = path.to_string_lossy();
            add(&["--bind", &path, &path, "--chdir", &path]);
        }
        add(&["--", &inner.0.to_string_lossy()]);
        arguments.extend(inner.1.iter().cloned());
        Self {
            program: program().unwrap_or_else(|| PLACES.map(PathBuf::from)[0].clone()),
            arguments,
        }
    }
}

fn is_graphics(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("nvidia") || matches!(name, "dri" | "kfd")
}
