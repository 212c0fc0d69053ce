//! What notebooks are to be like: the hub decides, this tells it what lies around.

use std::path::PathBuf;

use perijove_hub::Surroundings;

use super::{
    Check,
    site::{SitePlan, SiteTarget, python},
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
    let of_site = match &site.target {
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
    if of_site.is_none() && !is_written {
        return None;
    }
    let surroundings = Surroundings {
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
