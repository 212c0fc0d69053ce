//! What a process takes upon itself before it runs what is not ours: an account, limits, a sandbox.
//!
//! Linked into the program, whose children take it between fork and exec, and into the extension
//! module, by which a process that was forked ready takes it without an exec. It knows neither
//! what the process is for nor who decided what it may.

mod limits;
mod sandbox;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as system;

use std::io;

use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, setrlimit};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use limits::Limits;
pub use sandbox::Sandbox;
pub use system::{is_alone, landlock, show_in_proc};

use sandbox::Rules;

/// All that a process takes upon itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Confinement {
    /// `None`: it stays who it is. Needs root.
    pub account: Option<Account>,
    pub limits: Limits,
    pub sandbox: Option<Sandbox>,
}

/// A Unix account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, all of them.
    pub groups: Vec<u32>,
}

/// What a process could not take upon itself: it must not go on.
#[derive(Debug, Error)]
#[error("could not {what}")]
pub struct Failed {
    /// "take its account"
    pub what: &'static str,
    pub source: io::Error,
}

impl Confinement {
    /// What can be prepared while memory may still be had.
    ///
    /// # Errors
    /// When a path cannot be one.
    pub fn prepare(&self) -> io::Result<Prepared> {
        let account = self.account.as_ref().map(|account| {
            let groups = account.groups.iter().copied().map(Gid::from_raw).collect();
            (Uid::from_raw(account.uid), Gid::from_raw(account.gid), groups)
        });
        let rules = self.sandbox.as_ref().map(Sandbox::rules).transpose()?;
        Ok(Prepared { limits: self.limits.calls(), account, rules })
    }
}

/// A confinement as system calls.
#[derive(Debug)]
pub struct Prepared {
    limits: Vec<(Resource, Rlimit)>,
    account: Option<(Uid, Gid, Vec<Gid>)>,
    rules: Option<Rules>,
}

impl Prepared {
    /// Takes it, for good: this thread and all that it starts never get rid of it. Other threads
    /// would stay as they are, so there must be none ([`is_alone`]).
    ///
    /// It makes system calls only, so that it may be called between fork and exec.
    ///
    /// # Errors
    /// With the step that failed; those before it are taken.
    pub fn take(&self) -> Result<(), Failed> {
        let failed = |what| move |source| Failed { what, source };
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit)
                .map_err(|errno| failed("take its limits")(errno.into()))?;
        }
        if let Some((uid, gid, groups)) = &self.account {
            system::take_account(*uid, *gid, groups).map_err(failed("take its account"))?;
        }
        let Some(rules) = &self.rules else { return Ok(()) };
        system::renounce_privileges().map_err(failed("renounce privileges"))?;
        system::enter(rules).map_err(failed("enter its sandbox"))?;
        // Root without an account to become keeps its number only: nothing that the number alone
        // does not allow.
        if geteuid().is_root() {
            system::drop_capabilities().map_err(failed("drop its capabilities"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let text = r#"{
            "account": {"uid": 1001, "gid": 1001, "groups": [1001, 27]},
            "limits": {"open-files": 1024, "data": 536870912},
            "sandbox": {"read": ["/usr"], "change": ["/dev/null"], "write": ["/srv/ada"]}
        }"#;
        let confinement: Confinement = serde_json::from_str(text).unwrap();
        assert_eq!(confinement.account.as_ref().unwrap().groups, [1001, 27]);
        assert_eq!(confinement.limits.data, Some(536_870_912));
        assert!(confinement.sandbox.as_ref().unwrap().unlisted.is_empty());
        let again = serde_json::to_string(&confinement).unwrap();
        assert_eq!(serde_json::from_str::<Confinement>(&again).unwrap(), confinement);
        assert!(serde_json::from_str::<Confinement>(r#"{"sandbx": null}"#).is_err());
    }

    #[test]
    fn a_path_that_cannot_be_one_is_told_before_anything_is_taken() {
        let sandbox = Sandbox { read: vec!["a\0b".into()], ..Sandbox::default() };
        let confinement = Confinement { sandbox: Some(sandbox), ..Confinement::default() };
        assert!(confinement.prepare().is_err());
    }
}
