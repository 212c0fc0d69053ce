//! Notebooks that a story leaves behind: they are made to outlive the program, and are ended here.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// Kills every process whose folder lies below this one. Only this story's can.
pub(super) fn end(folder: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let is_ours =
            fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at.starts_with(folder));
        if is_ours && let Some(process) = Pid::from_raw(process) {
            // It may have ended meanwhile.
            kill_process(process, Signal::KILL).ok();
        }
    }
}

/// Kills the processes of perijove that serve in this folder: only this story's do.
pub(super) fn end_programs(folder: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let is_here = fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at == folder);
        let said = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_serving = said.split(|byte| *byte == 0).nth(1) == Some(b"serve");
        if is_here
            && is_serving
            && let Some(process) = Pid::from_raw(process)
        {
            kill_process(process, Signal::KILL).ok();
        }
    }
}
