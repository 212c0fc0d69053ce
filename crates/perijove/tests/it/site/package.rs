//! The worker's extension module, built once and put where a source tree has it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};

/// Builds the extension unless what is there is newer than its sources. Stories in other processes
/// wait meanwhile.
pub(super) fn ensure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let extension = root.join("python/perijove/_worker.abi3.so");
    if is_fresh(&root, &extension) {
        return;
    }
    fs::create_dir_all(root.join("target")).unwrap();
    let lock = File::create(root.join("target/worker-for-tests.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if is_fresh(&root, &extension) {
        return;
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "perijove-worker"])
        .current_dir(&root)
        .status()
        .unwrap();
    assert!(built.success(), "the worker's extension could not be built");
    // Renamed into place: a running worker keeps the file it has.
    let draft = root.join("python/perijove/.worker.test");
    fs::copy(root.join("target/debug/libperijove_worker.so"), &draft).unwrap();
    fs::rename(&draft, &extension).unwrap();
}

fn is_fresh(root: &Path, extension: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    let Some(built) = changed(extension) else { return false };
    let newest =
        sources(&root.join("crates/perijove-worker")).iter().filter_map(|path| changed(path)).max();
    newest.unwrap_or(SystemTime::UNIX_EPOCH) < built
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(sources(&path)) } else { found.push(path) }
    }
    found
}
