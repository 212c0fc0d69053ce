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
    let of_routes = config.route.iter().filter_map(|route| route.host.clone());
    let hosts = config.site.hosts.iter().flatten().cloned().chain(of_routes).collect();
    let surroundings = Surroundings {
        hosts,
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
    if notebook.domain.is_none() {
        notebook.domain = domain_of_ini(site);
    }
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

/// What the site's own INI file says (`pyramid_notebook.alternative_domain`), where it is served by one:
/// routes and certificates must be known before its first launch.
fn domain_of_ini(site: &SitePlan) -> Option<String> {
    let SiteTarget::Application(application) = &site.target else { return None };
    let perijove_apps::Application::Ini(file) = &application.name else { return None };
    let text = std::fs::read_to_string(application.root.join(file)).ok()?;
    alternative_domain(&text)
}

fn alternative_domain(ini: &str) -> Option<String> {
    let value = ini.lines().find_map(|line| {
        let (key, value) = line.split_once(['=', ':'])?;
        (key.trim_end() == "pyramid_notebook.alternative_domain").then(|| value.trim())
    });
    // What refers to something else is the site's to resolve.
    value.filter(|value| !value.is_empty() && !value.contains('%')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::alternative_domain;

    #[test]
    fn the_domain_of_an_ini_file_is_found() {
        let check = |ini: &str, expected: Option<&str>| {
            assert_eq!(alternative_domain(ini).as_deref(), expected, "{ini}");
        };
        let key = "pyramid_notebook.alternative_domain";
        check("", None);
        check(
            &format!("[app:main]\n{key} = https://nb.example.com\n"),
            Some("https://nb.example.com"),
        );
        check(&format!("[app:main]\n{key}:nb.example.com"), Some("nb.example.com"));
        check(&format!("{key} ="), None);
        check(&format!("# {key} = https://nb.example.com"), None);
        check(&format!("{key}s = https://nb.example.com"), None);
        check(&format!("{key} = %(domain)s"), None);
    }
}
