//! A place for the sockets of workers and services that no other living process of this site has.
//!
//! Several may live at once: one that was replaced finishes what is under way, for hours where there
//! are websockets, and when its successor is killed meanwhile a further one is started. Each removes
//! the files of its sockets by their names, at its end.

use std::{
    fs::{self, DirEntry, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// So many processes may serve a site at once, all but one of them on their way out.
const MOST: u32 = 100;

/// Held for as long as a clone of it lives. The kernel frees it with the process, however that ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Berth {
    number: u32,
    /// None as long as none was taken.
    _lock: Option<Arc<File>>,
}

impl Berth {
    /// Takes the first one that is free, and removes what killed processes have left in others.
    ///
    /// # Errors
    /// When the runtime folder cannot be written to, or all are taken.
    pub(crate) fn take(runtime: &Path) -> io::Result<Self> {
        let mut found = None;
        for number in 0..MOST {
            let path = runtime.join(format!("berth-{number}"));
            if found.is_some() && !path.exists() {
                break;
            }
            let mut options = File::options();
            let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => clear(runtime, number),
                Err(Errno::WOULDBLOCK) => continue,
                Err(error) => return Err(error.into()),
            }
            found.get_or_insert(Self { number, _lock: Some(Arc::new(file)) });
        }
        let full = || io::Error::other(format!("{MOST} processes serve this site"));
        found.ok_or_else(full)
    }

    /// What names of files begin with that lie in folders of all.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The name of a folder that is this one's. Names of sockets are short, so it is as well.
    pub(crate) fn folder(&self, name: &str) -> String {
        format!("{name}{}", ending(self.number))
    }
}

fn ending(number: u32) -> String {
    if number == 0 { String::new() } else { format!(".{number}") }
}

/// Removes what lies in a berth that is free. What stays is in nobody's way.
fn clear(runtime: &Path, number: u32) {
    let ending = ending(number);
    for entry in entries(runtime) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(&ending).unwrap_or_default();
        let is_of_an_app = name == "app" || name.starts_with("app-");
        if is_of_an_app && !name.contains('.') {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    let start = format!("{number}-");
    let services = entries(&runtime.join("service"));
    for entry in services.flat_map(|service| entries(&service.path())) {
        if entry.file_name().to_string_lossy().starts_with(&start) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Berth;

    fn put(runtime: &Path, file: &str) {
        let path = runtime.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn nobody_has_the_place_of_another_while_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        let first = Berth::take(folder.path()).unwrap();
        let second = Berth::take(folder.path()).unwrap();
        let third = Berth::take(folder.path()).unwrap();
        let names = [&first, &second, &third].map(|berth| berth.folder("app"));
        assert_eq!(names, ["app", "app.1", "app.2"]);
        let clone = second.clone();
        drop(second);
        assert_eq!(Berth::take(folder.path()).unwrap().number(), 3);
        drop(clone);
        assert_eq!(Berth::take(folder.path()).unwrap().number(), 1);
    }

    #[test]
    fn what_the_dead_left_is_removed_and_nothing_of_the_living() {
        let folder = tempfile::tempdir().unwrap();
        let living: Vec<Berth> = (0..3).map(|_| Berth::take(folder.path()).unwrap()).collect();
        let of = |number: &str| {
            ["app", "app-0a1b2c3d"].map(|name| format!("{name}{number}/web-1.sock")).to_vec()
        };
        let first = [of(""), vec!["service/0a1b2c3d/0-1".to_owned()]].concat();
        let second = [of(".1"), vec!["service/0a1b2c3d/1-7".to_owned()]].concat();
        let third = [of(".2"), vec!["service/0a1b2c3d/2-1".to_owned()]].concat();
        let others = ["notebook/x/sock", "apples/x", "app.10/web-1.sock", "service/0a1b2c3d/10-1"];
        let others = others.map(str::to_owned).to_vec();
        for file in [&first, &second, &third, &others].into_iter().flatten() {
            put(folder.path(), file);
        }
        let [one, two, three] = <[Berth; 3]>::try_from(living).unwrap();
        drop((one, three));
        let taken = Berth::take(folder.path()).unwrap();
        assert_eq!(taken.number(), 0);
        let is_there = |file: &String| folder.path().join(file).exists();
        assert!(!first.iter().chain(&third).any(is_there));
        assert!(second.iter().chain(&others).all(is_there));
        drop(two);
    }
}
