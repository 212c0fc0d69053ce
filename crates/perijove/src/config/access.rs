//! Settings of who may pass, beyond addresses: functions in Python that are asked.

use std::path::PathBuf;

use serde::Deserialize;

use super::Period;

/// Users sign in by HTTP's own means; a function in Python knows them.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Auth {
    /// A file of Python with `check_password(environ, user, password)`, which returns `True`, `False`,
    /// or `None` for a user it does not know. It runs in a worker of its own, with the site's Python.
    /// `environ` tells who asks and for which host, not for what: a password is right everywhere.
    pub script: Option<PathBuf>,
    /// How users sign in: `basic`.
    #[serde(rename = "type")]
    pub kind: AuthKind,
    /// What browsers show when they ask for name and password.
    pub realm: String,
    /// Below these paths users must have signed in, whatever lies there: the site, its files, other
    /// routes, notebooks.
    pub paths: Vec<String>,
    /// Paths among them that are left out: `["/health", "/hooks/"]`.
    pub except: Vec<String>,
    /// Users must be of this group: `groups_for_user(environ, user)` names those of a user.
    pub group: Option<String>,
    /// Where `groups_for_user` is, if not in `script`.
    pub group_script: Option<PathBuf>,
    /// How long an answer of the functions is remembered.
    pub keep_time: Period,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            script: None,
            kind: AuthKind::Basic,
            realm: "site".to_owned(),
            paths: vec!["/".to_owned()],
            except: Vec::new(),
            group: None,
            group_script: None,
            keep_time: Period::seconds(30),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum AuthKind {
    #[default]
    Basic,
}

/// A function in Python says which clients may come.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allow {
    /// A file of Python with `allow_access(environ, host)`, where `host` is the client's address. It
    /// returns `True`, `False`, or `None` for neither, which lets pass. `environ` is that of the
    /// request, without a body.
    pub script: Option<PathBuf>,
    /// Below these paths it is asked, whatever lies there: the site, its files, other routes,
    /// notebooks.
    pub paths: Vec<String>,
    /// Paths among them that are left out.
    pub except: Vec<String>,
    /// How long an answer of the function is remembered, for the same request of the same address.
    pub keep_time: Period,
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            script: None,
            paths: vec!["/".to_owned()],
            except: Vec::new(),
            keep_time: Period::seconds(30),
        }
    }
}
