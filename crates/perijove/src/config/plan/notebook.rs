//! What notebooks are to be like: the hub decides, this tells it what lies around.

use std::path::PathBuf;

use perijove_hub::Surroundings;

use super::{
    Check,
    site::{SitePlan, SiteTarget, python},
};
use crate::{config::Config, folders::Folders};

/// Whether notebooks can be served where there is no site.
pub(super) fn stands_alone(config: &Config) -> bool {
    matches!(config.notebook.authority.as_deref(), Some("login" | "ticket"))
}

/// None when the site has no use for notebooks: files alone, or no Python that could run them and
/// nothing written about them.
pub(super) fn decide(
    config: &Config,
    site: &SitePlan,
    folders: &Folders,
    check: &mut Check<'_>,
) -> Option<perijove_hub::Plan> {
    let of_site = match &site.target {
        SiteTarget::Application(application) => Some(application.python.clone()),
        // Whatever the site was meant to be, it may have had one.
        SiteTarget::Nothing if site.is_broken => Some(PathBuf::from("/bin/sh")),
        SiteTarget::Upstream(_) | SiteTarget::Nothing => None,
    };
    let is_written = check.is_written("notebook");
    let has_site = site.target != SiteTarget::Nothing || site.is_broken;
    if !has_site && !stands_alone(config) {
        if is_written {
            let hint = "the site says who may use them: write app.py, set `site.upstream`, or set \
                        `notebook.authority` to \"login\"";
            check.wrong("notebook", "there is no application beside the files", hint);
        }
        return None;
    }
    let of_site = match of_site {
        None if !has_site && config.notebook.python.is_none() => {
            Some(python(None, "notebook.python", &site.root, check)?)
        }
        of_site => of_site,
    };
    if of_site.is_none() && !is_written {
        return None;
    }
    let has_files = site.files.iter().any(|files| files.path == "/");
    let has_root = config.route.iter().any(|route| route.path == "/");
    let surroundings = Surroundings {
        is_alone: !has_site && !has_files && !has_root,
        has_site,
        base: site.root.clone(),
        state_folder: folders.state.clone(),
        runtime_folder: folders.runtime.clone(),
        python: of_site,
        package: check.package().unwrap_or_default(),
        guardian: check.environment.executable().map(PathBuf::from).unwrap_or_default(),
    };
    let mut notebook = config.notebook.clone();
    if let Some(named) = &notebook.python {
        notebook.python = Some(python(Some(named), "notebook.python", &site.root, check)?);
    }
    match notebook.resolve(&surroundings) {
        Ok(plan) => Some(plan),
        Err(mistakes) => {
            for mistake in mistakes {
                let hint = mistake.hint.unwrap_or_default();
                check.wrong(&mistake.key, mistake.problem, &hint);
            }
            None
        }
    }
}
