//! The files and folders that a notebook may use.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use perijove_process::Sandbox;

use super::{
    Needs,
    carve::{carve, real},
};
use crate::config::Setting;

/// Programs, libraries, and what they need to know of the machine.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/var/cache/fontconfig",
];

/// Settings of the machine that hold no secrets. The folder itself is not among them: whatever a
/// service keeps there is its own.
const SETTINGS: [&str; 44] = [
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "gitconfig",
    "group",
    "host.conf",
    "hostname",
    "hosts",
    "inputrc",
    "ipython",
    "jupyter",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ld.so.preload",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pip.conf",
    "pkcs11",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "resolv.conf",
    "services",
    "shells",
    "ssl",
    "terminfo",
    "timezone",
    "vimrc",
];

const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

/// What belongs to a Python below the folder it was installed to; more may lie there.
const PARTS_OF_PYTHON: [&str; 12] = [
    "bin",
    "conda-meta",
    "etc",
    "include",
    "lib",
    "lib32",
    "lib64",
    "libexec",
    "plugins",
    "pyvenv.cfg",
    "share",
    "ssl",
];

/// Links from one Python to another that are followed.
const LINKS: usize = 16;

pub(super) fn sandbox(needs: &Needs<'_>) -> Sandbox {
    let plan = needs.plan;
    let (Setting::Written(folders) | Setting::Default(folders)) = &plan.folder;
    // The folder that the site hands over, in whose place the configuration has none.
    let handed = needs.folder.parent().map(real);
    let ours = [&plan.state_folder, &plan.runtime_folder, folders].map(|path| real(path));
    let ours: Vec<PathBuf> = ours.into_iter().chain(handed).collect();
    let all: Vec<PathBuf> = ours.iter().cloned().chain([real(&plan.isolation.site)]).collect();

    let mut read: Vec<PathBuf> =
        SYSTEM.iter().flat_map(|path| carve(Path::new(path), &all)).collect();
    read.extend(SETTINGS.iter().map(|name| Path::new("/etc").join(name)));
    read.extend(resolver());
    read.extend(pythons(&plan.python).into_iter().flat_map(|path| carve(&path, &ours)));
    read.push(plan.package.clone());
    for shared in plan.isolation.share.iter().chain(&needs.share) {
        read.extend(carve(shared, &ours));
    }
    let mut change: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
    change.extend(graphics());
    if !needs.is_root {
        // Only what is its own account's can be written there: how soon it is ended for memory.
        change.push("/proc".into());
    }
    let unlisted = vec!["/dev/shm".into()];
    Sandbox { read, change, unlisted, write: vec![needs.folder.clone()] }
}

/// Where the file with the name servers lies, if that is a folder of its own: there it is replaced
/// whenever the network changes.
fn resolver() -> Option<PathBuf> {
    let folder = real(Path::new("/etc/resolv.conf")).parent()?.to_owned();
    folder.starts_with("/run").then_some(folder)
}

/// Processors for graphics and for learning.
fn graphics() -> Vec<PathBuf> {
    let is_one = |name: &str| name.starts_with("nvidia") || matches!(name, "dri" | "kfd");
    let Ok(devices) = fs::read_dir("/dev") else { return Vec::new() };
    devices
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.path())
        .collect()
}

/// What belongs to a Python, and to those that it was made from: a virtual environment's is a link,
/// perhaps by way of others.
fn pythons(python: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let mut one = python.to_owned();
    for _ in 0..LINKS {
        add_python(&one, &mut places);
        match fs::read_link(&one) {
            Ok(target) => one = plain(&one.parent().unwrap_or(&one).join(target)),
            Err(_) => break,
        }
    }
    add_python(&real(python), &mut places);
    let linked: Vec<PathBuf> = places.iter().flat_map(|place| linked(place)).collect();
    places.extend(linked);
    places
}

/// What is installed without being copied: folders that `.pth` files name (site(3) of Python).
fn linked(library: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let is_of_python = |name: &str| name.starts_with("python");
    let versions = entries(library).filter(|e| e.file_name().to_str().is_some_and(is_of_python));
    let files = versions.flat_map(|version| entries(&version.path().join("site-packages")));
    let files =
        files.map(|file| file.path()).filter(|path| path.extension() == Some("pth".as_ref()));
    let texts = files.filter_map(|path| fs::read_to_string(path).ok());
    let lines = texts.flat_map(|text| text.lines().map(PathBuf::from).collect::<Vec<_>>());
    lines.filter(|path| path.is_absolute() && path.is_dir()).collect()
}

/// What belongs to a Python and can be written by others than root.
pub(super) fn foreign(python: &Path) -> Option<PathBuf> {
    let is_foreign = |path: &PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| found.uid() != 0 || found.mode() & 0o022 != 0)
    };
    let parts = pythons(python);
    // And what leads there: who may rename a folder may put another in its place.
    let above = parts.iter().flat_map(|part| part.ancestors().skip(1)).map(Path::to_owned);
    let is_sticky = |path: &PathBuf| fs::metadata(path).is_ok_and(|f| f.mode() & 0o1000 != 0);
    let above = above.filter(|path| !is_sticky(path));
    parts.iter().cloned().chain(above).find(is_foreign)
}

fn add_python(python: &Path, places: &mut Vec<PathBuf>) {
    let Some(prefix) = python.parent().and_then(Path::parent) else { return };
    let mut prefixes = vec![prefix.to_owned()];
    let told = fs::read_to_string(prefix.join("pyvenv.cfg")).unwrap_or_default();
    let home = told.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "home").then(|| PathBuf::from(value.trim()))
    });
    prefixes.extend(home.as_deref().and_then(Path::parent).map(Path::to_owned));
    for prefix in prefixes {
        for part in PARTS_OF_PYTHON {
            let place = prefix.join(part);
            if !places.contains(&place) && !place.starts_with("/usr") {
                places.push(place);
            }
        }
    }
}

/// Without `.` and `..`, links left as they are.
fn plain(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_environment_comes_with_what_it_was_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let root = real(folder.path());
        for below in ["base-3.12.1/bin", "venv/bin", "elsewhere/bin"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        fs::write(root.join("base-3.12.1/bin/python3.12"), "").unwrap();
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
        link("base-3.12.1", "base-3.12");
        link("../../base-3.12/bin/python3.12", "venv/bin/python3");
        link("python3", "venv/bin/python");
        fs::create_dir_all(root.join("venv/lib/python3.12/site-packages")).unwrap();
        fs::create_dir_all(root.join("editable")).unwrap();
        let pth = format!("import sys\n{}\n/nowhere\n", root.join("editable").display());
        fs::write(root.join("venv/lib/python3.12/site-packages/site.pth"), pth).unwrap();
        let home = format!("home = {}\n", root.join("elsewhere/bin").display());
        fs::write(root.join("venv/pyvenv.cfg"), home).unwrap();
        let found = pythons(&root.join("venv/bin/python"));
        for expected in
            ["venv/lib", "base-3.12/lib", "base-3.12.1/lib", "elsewhere/lib", "editable"]
        {
            assert!(found.contains(&root.join(expected)), "{expected} in {found:?}");
        }
        // What else lies beside a Python is not a part of it.
        assert!(!found.contains(&root.join("venv")));
    }
}
