//! Settings of notebooks.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{
    Mistake, Period, Size,
    entry::{Entry, Segment},
};

/// Everyone's notebooks.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Notebook {
    /// Where they are served, with a slash at both ends.
    pub path: String,
    /// One folder for each user lies below it. Without it the INI setting
    /// `pyramid_notebook.notebook_folder` that a launch hands over, else `notebooks` in the state
    /// folder.
    pub folder: Option<PathBuf>,
    /// The Python that has jupyter in it. Without it the site's.
    pub python: Option<PathBuf>,
    /// Who says which user a request belongs to.
    pub authority: Authority,
    /// Running at once.
    pub max_notebooks: usize,
    /// Running at once for one user.
    pub max_per_user: usize,
    /// From the start, whatever happens; `0` is never. Without it the INI setting
    /// `pyramid_notebook.kill_timeout`, else never.
    pub kill_timeout: Option<Period>,
    /// How long a notebook may take until it answers.
    pub start_time: Period,
    /// Names below `path` that are ordinary requests to the site.
    pub site_paths: Vec<String>,
    /// More options for jupyter_server.
    pub arguments: Vec<String>,
    /// Origins besides the site's own from which pages may act on notebooks.
    pub allow_origin: Vec<String>,
    /// All that a notebook inherits, beside what it needs to run.
    pub environment: BTreeMap<String, String>,
    /// Allow plain HTTP beyond this machine.
    pub insecure: bool,
    /// Bytes of a request's body.
    pub body_limit: Size,
}

impl Default for Notebook {
    fn default() -> Self {
        Self {
            path: "/notebook/".to_owned(),
            folder: None,
            python: None,
            authority: Authority::Site,
            max_notebooks: 10,
            max_per_user: 5,
            kill_timeout: None,
            start_time: Period::seconds(60),
            site_paths: vec!["shutdown".to_owned()],
            arguments: Vec::new(),
            allow_origin: Vec::new(),
            environment: BTreeMap::new(),
            insecure: false,
            body_limit: Size(2 << 30),
        }
    }
}

/// Who says which user a request belongs to.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// The site's own login.
    #[default]
    Site,
    Ticket,
    Login,
}

/// Settings that are kept for later versions, and what this one does instead. Taking one silently
/// would promise what is not done.
const LATER: [(&str, &str); 7] = [
    ("domain", "notebooks share the site's origin"),
    ("idle-timeout", "use `kill-timeout`"),
    ("share", "notebooks read what their account may read"),
    ("allow-from", "restrict the address in front of perijove"),
    ("limits", "notebooks run without limits of their own"),
    ("sandbox", "notebooks run with all the rights of their account"),
    ("run-as", "notebooks run as the account of perijove"),
];

/// Takes settings out that are for later versions, and tells each.
pub(super) fn refuse_later(root: &mut Entry) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (key, instead) in LATER {
        let path = [Segment::Key("notebook".to_owned()), Segment::Key(key.to_owned())];
        let Some(entry) = root.find(&path) else { continue };
        let what = format!("`notebook.{key}` is not available in this version");
        mistakes.push(Mistake::new(entry.origin.clone(), what).hint(instead));
        root.remove(&path);
    }
    mistakes
}
