//! Whether a folder is ours: another account on this machine cannot have put it there.
//!
//! A notebook runs what it finds in its folder, as our account. In a place where everybody may make
//! folders, such as `/tmp`, somebody may have made the one we are about to use.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

#[derive(Debug, Error)]
#[error("{} belongs to another account (number {owner})", path.display())]
struct NotOurs {
    path: PathBuf,
    owner: u32,
}

/// Checks that a folder belongs to us or to root, and so does what leads to it wherever that stands
/// in a folder which everybody may write to.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    check_for(folder, &[rustix::process::geteuid().as_raw(), 0])
}

fn check_for(folder: &Path, accounts: &[u32]) -> io::Result<()> {
    let judge = |path: &Path, owner: u32| {
        let refusal = || io::Error::other(NotOurs { path: path.to_owned(), owner });
        accounts.contains(&owner).then_some(()).ok_or_else(refusal)
    };
    judge(folder, fs::metadata(folder)?.uid())?;
    for part in folder.ancestors() {
        let Some(parent) = part.parent() else { break };
        let is_everybodys = fs::metadata(parent).is_ok_and(|parent| parent.mode() & 0o002 != 0);
        if is_everybodys {
            judge(part, fs::symlink_metadata(part)?.uid())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn what_others_could_have_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        let own = shared.join("notebooks/ada");
        fs::create_dir_all(&own).unwrap();
        let us = fs::metadata(&own).unwrap().uid();
        // The temporary folder itself stands where everybody may write.
        let stranger = us + 1;
        let check = |path: &Path, accounts: &[u32], expected: Result<(), &Path>| {
            let checked = check_for(path, accounts).map_err(|error| error.to_string());
            let expected =
                expected.map_err(|path| format!("{} belongs to another account", path.display()));
            match (&checked, &expected) {
                (Ok(()), Ok(())) => {}
                (Err(told), Err(begin)) if told.starts_with(begin) => {}
                _ => panic!("{checked:?}, not {expected:?}"),
            }
        };
        check(&own, &[us, 0], Ok(()));
        check(&own, &[stranger], Err(&own));
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
        check(&own, &[us, 0], Ok(()));
        // A link is followed to the folder it leads to, and is somebody's, too.
        let link = shared.join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        let root = fs::metadata("/").unwrap().uid();
        check(&link, &[us, root], Ok(()));
        if us != root {
            check(&link, &[root], Err(&link));
        }
    }
}
