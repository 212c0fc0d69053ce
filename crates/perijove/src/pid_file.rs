//! A file with the number of the process, for service managers that ask for one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The file while this process stands in it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    is_left: bool,
}

impl PidFile {
    /// Puts this process's number there, whole or not at all.
    pub(crate) fn write(path: &Path) -> io::Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        fs::write(&draft, own())?;
        fs::rename(&draft, path)?;
        Ok(Self { path: path.to_owned(), is_left: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The process that has taken over stands there, or comes to at any moment: to look who does
    /// and to remove the file are two steps.
    pub(crate) fn leave(mut self) {
        self.is_left = true;
    }
}

fn own() -> String {
    format!("{}\n", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody else may have put a number there.
        if !self.is_left && fs::read_to_string(&self.path).is_ok_and(|text| text == own()) {
            // One that stays is replaced at the next start.
            fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PidFile;

    #[test]
    fn the_file_goes_with_its_process_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists(), "it is another's now");
        PidFile::write(&path).unwrap().leave();
        assert!(path.exists(), "it is to be another's");
    }
}
