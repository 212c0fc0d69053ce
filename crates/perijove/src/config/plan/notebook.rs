//! What notebooks are to be like: the hub decides, this tells it what lies around.

use std::path::PathBuf;

use perijove_hub::Surroundings;

use super::{
    Check,
    site::{SitePlan, SiteTarget},
};
use crate::{config::Config, folders::Folders};

/// None when the site has no use for notebooks: files alone, or no Python that could run them and
/// nothing written about them.
pub(super) fn decide(
    config: &Config,
    site: &SitePlan,
    folders: &Folders,
    check: &mut Check<'_>,
) -> Option<perijove_hub::Plan> {
    let python = match &site.target {
        SiteTarget::Application(application) => Some(application.python.clone()),
        // Whatever the site was meant to be, it may have had one.
        SiteTarget::Nothing if site.is_broken => Some(PathBuf::from("/bin/sh")),
        SiteTarget::Upstream(_) | SiteTarget::Nothing => None,
    };
    let is_written = check.is_written("notebook");
    if site.target == SiteTarget::Nothing && !site.is_broken {
        if is_written {
            let hint = "the site says who may use them: write app.py, or set `site.upstream`";
            check.wrong("notebook", "there is no application beside the files", hint);
        }
        return None;
    }
    if python.is_none() && !is_written {
        return None;
    }
    let surroundings = Surroundings {
        base: site.root.clone(),
        state_folder: folders.state.clone(),
        runtime_folder: folders.runtime.clone(),
        python,
        package: crate::package::find(check.environment).unwrap_or_default(),
        guardian: check.environment.executable().map(PathBuf::from).unwrap_or_default(),
    };
    let mut notebook = config.notebook.clone();
    // A virtual environment or a conda prefix may be named by its folder.
    notebook.python = notebook.python.map(|named| match site.root.join(&named) {
        folder if folder.is_dir() => named.join("bin/python"),
        _ => named,
    });
    match notebook.resolve(&surroundings) {
        Ok(plan) => {
            if !super::site::is_program(&plan.python) {
                let what = format!("there is no Python at {}", plan.python.display());
                let hint = "make a virtual environment there, with jupyterlab in it";
                check.wrong("notebook.python", what, hint);
            }
            Some(plan)
        }
        Err(mistakes) => {
            for mistake in mistakes {
                let hint = mistake.hint.unwrap_or_default();
                check.wrong(&mistake.key, mistake.problem, &hint);
            }
            None
        }
    }
}
