//! A state folder that can be filled: a small file system in a name space of the program's own, which
//! needs no root where the system lets users have such spaces.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::program as plain;

/// The program, with a state folder of four megabytes.
pub(super) fn program(folder: &Path) -> Command {
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    let mut command = plain(folder);
    let program = command.get_program().to_owned();
    let mut wrapped = Command::new("unshare");
    wrapped.current_dir(folder).env_clear().stdin(std::process::Stdio::null());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if !rustix::process::geteuid().is_root() {
        wrapped.args(["--user", "--map-root-user"]);
    }
    let mount = "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\" && exec \"$@\"";
    wrapped.args(["--mount", "sh", "-c", mount]).arg(state).arg(program);
    command = wrapped;
    command
}

/// The state folder as the program sees it.
fn seen_by(process: u32, folder: &Path) -> PathBuf {
    let inside = folder.join("state").strip_prefix("/").unwrap().join("filler");
    PathBuf::from(format!("/proc/{process}/root")).join(inside)
}

pub(super) fn fill(process: u32, folder: &Path) {
    let mut file = File::create(seen_by(process, folder)).unwrap();
    // Large pieces first, so that the last byte is reached.
    for size in [65_536, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

pub(super) fn free(process: u32, folder: &Path) {
    fs::remove_file(seen_by(process, folder)).unwrap();
}
