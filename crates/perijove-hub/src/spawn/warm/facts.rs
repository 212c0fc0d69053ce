//! What a zygote says of itself, and when a server forked from it would differ from a cold one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::stamps::Stamps;

/// Variables that mean something to the interpreter or to the C library when a process starts.
const AT_START: [&str; 7] = ["PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "OPENSSL_"];
/// Among those, ours: it is read when a kernel starts.
const OURS: &str = "PYTHONSTARTUP";

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Facts {
    /// Seconds since the Unix epoch.
    began: f64,
    /// Where modules come from.
    paths: Vec<PathBuf>,
    /// Variables that its imports have read.
    read: Vec<String>,
    /// Where packages of a user's own lie below their home.
    user_site: Option<PathBuf>,
    /// Why nothing can be forked from it.
    problem: Option<String>,
    #[serde(skip)]
    python: PathBuf,
}

impl Facts {
    pub(super) fn read(said: &str, python: &Path) -> Result<Self, String> {
        let facts: Self = serde_json::from_str(said)
            .map_err(|error| format!("the zygote does not say what it is: {error}"))?;
        match facts.problem {
            Some(problem) => Err(problem),
            None => Ok(Self { python: python.to_owned(), ..facts }),
        }
    }

    /// When it began, since the Unix epoch.
    pub(super) fn began(&self) -> Duration {
        Duration::try_from_secs_f64(self.began).unwrap_or_default()
    }

    /// The state of what it has imported. It blocks.
    pub(super) fn stamps(&self) -> Stamps {
        Stamps::of(&self.python, &self.paths)
    }

    /// Why a server with this environment cannot be forked from a zygote with that one.
    pub(super) fn why_cold(
        &self,
        zygote: &BTreeMap<String, String>,
        server: &BTreeMap<String, String>,
    ) -> Option<String> {
        let decides = |name: &str| {
            let is_read = self.read.iter().any(|read| read == name);
            let at_start = AT_START.iter().any(|prefix| name.starts_with(prefix));
            is_read || (at_start && name != OURS)
        };
        let mut names = zygote.keys().chain(server.keys());
        if let Some(name) =
            names.find(|name| decides(name) && zygote.get(*name) != server.get(*name))
        {
            return Some(format!("{name} is set for it alone"));
        }
        let own = Path::new(server.get("HOME")?).join(self.user_site.as_ref()?);
        own.is_dir().then(|| format!("there are packages of the user's own in {}", own.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(read: &[&str], user_site: Option<&str>) -> Facts {
        let said = serde_json::json!({
            "began": 1.5, "paths": [], "read": read, "user-site": user_site, "problem": null,
        });
        Facts::read(&said.to_string(), Path::new("/usr/bin/python3")).unwrap()
    }

    fn check(read: &[&str], server: &[(&str, &str)], expected: Option<&str>) {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let zygote = map(&[("PATH", "/bin"), ("LANG", "C.UTF-8"), ("HOME", "/nonexistent")]);
        let mut all = zygote.clone();
        all.extend(map(server));
        assert_eq!(facts(read, None).why_cold(&zygote, &all).as_deref(), expected, "{server:?}");
    }

    #[test]
    fn what_an_import_has_read_must_be_the_same() {
        check(&["TERM"], &[("HOME", "/home/ada"), ("COLOR", "red")], None);
        check(&["TERM"], &[("PYTHONSTARTUP", "/loader.py")], None);
        check(&["TERM"], &[("TERM", "dumb")], Some("TERM is set for it alone"));
        check(&[], &[("PYTHONPATH", "/mine")], Some("PYTHONPATH is set for it alone"));
        check(&[], &[("LD_PRELOAD", "x.so")], Some("LD_PRELOAD is set for it alone"));
        check(&[], &[("LANG", "de_DE.UTF-8")], Some("LANG is set for it alone"));
    }

    #[test]
    fn packages_of_the_users_own_are_not_in_the_zygote() {
        let home = tempfile::tempdir().unwrap();
        let environment = [("HOME".to_owned(), home.path().display().to_string())].into();
        let facts = facts(&[], Some(".local/lib/site"));
        assert_eq!(facts.why_cold(&environment, &environment), None);
        std::fs::create_dir_all(home.path().join(".local/lib/site")).unwrap();
        let reason = facts.why_cold(&environment, &environment).unwrap();
        assert!(reason.starts_with("there are packages of the user's own in "), "{reason}");
    }

    #[test]
    fn a_zygote_that_cannot_be_forked_says_why() {
        let said = r#"{"began": 0, "paths": [], "read": [], "user-site": null, "problem": "it has two threads"}"#;
        assert_eq!(Facts::read(said, Path::new("/p")).unwrap_err(), "it has two threads");
        assert!(Facts::read("{}", Path::new("/p")).is_err());
    }
}
