//! From `Config` to `Plan`: every setting is checked, and all mistakes are told at once.

use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{Config, Lapse, Mistake, Plan, Setting, Surroundings, VouchedBy, isolation, place};
use crate::origin::Origin;

const DEFAULT_KILL_TIMEOUT: Duration = Duration::ZERO;
/// Long enough for what is left over night, short enough that nothing is left for ever.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_MAX_NOTEBOOKS: u32 = 100;
const DEFAULT_MAX_PER_USER: u32 = 5;

/// Options of Jupyter that perijove sets itself, in the lower case in which they are compared.
const OURS: [&str; 13] = [
    "--ip",
    "--port",
    "--sock",
    "--serverapp.ip",
    "--serverapp.port",
    "--serverapp.sock",
    "--serverapp.base_url",
    "--serverapp.root_dir",
    "--serverapp.token",
    "--serverapp.password",
    "--serverapp.identity_provider_class",
    "--identityprovider.token",
    "--passwordidentityprovider.hashed_password",
];

pub(super) fn resolve(config: Config, around: &Surroundings) -> Result<Plan, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let path = check_path(config.path.as_deref().unwrap_or("/notebook/"), &mut mistakes);
    let vouched_by = check_authority(config.authority.as_deref(), around, &mut mistakes);
    let site_paths = check_site_paths(&config.site_paths, &mut mistakes);
    let allow_origin = check_origins(&config.allow_origin, &mut mistakes);
    let place = place::check(&config, around, &mut mistakes);
    check_arguments(&config.arguments, &mut mistakes);
    check_environment(&config, &mut mistakes);
    let python = config.python.as_ref().map(|python| absolute(&around.base, python));
    let python = python.or_else(|| around.python.clone());
    if python.is_none() {
        mistakes.add("python", "is needed: the site has no Python of its own", None);
    }
    check_more_than_nothing(&config, &mut mistakes);
    let folder = match &config.folder {
        Some(folder) => Setting::Written(absolute(&around.base, folder)),
        None => Setting::Default(around.state_folder.join("folders")),
    };
    let (Setting::Written(folders) | Setting::Default(folders)) = &folder;
    let isolation = isolation::check(&config, around, folders, &mut mistakes);
    let kill_timeout = match config.kill_timeout {
        Some(Lapse(time)) => Setting::Written(time),
        None => Setting::Default(DEFAULT_KILL_TIMEOUT),
    };
    let max_notebooks = config.max_notebooks.unwrap_or(DEFAULT_MAX_NOTEBOOKS);
    let max_per_user = config.max_per_user.unwrap_or(DEFAULT_MAX_PER_USER);
    mistakes.none_or(Plan {
        path,
        folder,
        python: python.unwrap_or_default(),
        package: around.package.clone(),
        guardian: around.guardian.clone(),
        vouched_by,
        is_alone: around.is_alone,
        state_folder: around.state_folder.clone(),
        runtime_folder: around.runtime_folder.clone(),
        max_notebooks: usize::try_from(max_notebooks).unwrap_or(usize::MAX),
        max_per_user: usize::try_from(max_per_user).unwrap_or(usize::MAX),
        kill_timeout,
        idle_timeout: config.idle_timeout.map_or(DEFAULT_IDLE_TIMEOUT, |lapse| lapse.0),
        warn_before: config.warn_before.map(|lapse| lapse.0),
        kernel_idle_timeout: config.kernel_idle_timeout.map_or(Duration::ZERO, |lapse| lapse.0),
        start_timeout: config.start_timeout.map_or(DEFAULT_START_TIMEOUT, |lapse| lapse.0),
        site_paths,
        arguments: config.arguments,
        allow_origin,
        environment: config.environment,
        isolation,
        insecure: config.insecure,
        domain: place.domain,
        site_origin: place.site_origin,
        embed: place.embed,
        allow_from: place.allow_from,
        warm: config.warm.unwrap_or(cfg!(target_os = "linux")),
        is_warm_at_once: config.warm == Some(true),
    })
}

#[derive(Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, key: &str, problem: impl Into<String>, hint: Option<&str>) {
        self.0.push(Mistake {
            key: format!("notebook.{key}"),
            problem: problem.into(),
            hint: hint.map(str::to_owned),
        });
    }

    fn none_or(self, plan: Plan) -> Result<Plan, Vec<Mistake>> {
        if self.0.is_empty() { Ok(plan) } else { Err(self.0) }
    }
}

/// The path becomes part of Jupyter's own addresses, which it compares as patterns: only letters
/// that mean themselves everywhere are allowed.
fn check_path(written: &str, mistakes: &mut Mistakes) -> String {
    let inner = written.trim_matches('/');
    let is_plain = |segment: &str| {
        !segment.is_empty()
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if !written.starts_with('/') {
        mistakes.add("path", "must begin with a slash", Some("for example `/notebook/`"));
    } else if inner.is_empty() {
        mistakes.add("path", "must not be the root of the site", Some("for example `/notebook/`"));
    } else if !inner.split('/').all(is_plain) {
        let problem = "may hold letters, digits, `-`, `_` and single slashes only";
        mistakes.add("path", problem, None);
    }
    format!("/{inner}/")
}

fn check_authority(
    written: Option<&str>,
    around: &Surroundings,
    mistakes: &mut Mistakes,
) -> VouchedBy {
    match written {
        Some("site") if !around.has_site => {
            let hint =
                "write app.py, set `site.upstream`, or set `notebook.authority` to \"login\"";
            mistakes.add("authority", "is \"site\", but there is no site to ask", Some(hint));
            VouchedBy::Site
        }
        None | Some("site") => VouchedBy::Site,
        Some("login") => VouchedBy::Login,
        Some("ticket") => VouchedBy::Ticket,
        Some(other) => {
            let problem = format!("must be \"site\", \"login\" or \"ticket\", not {other:?}");
            mistakes.add("authority", problem, None);
            VouchedBy::Site
        }
    }
}

fn check_more_than_nothing(config: &Config, mistakes: &mut Mistakes) {
    let limits = [("max-notebooks", config.max_notebooks), ("max-per-user", config.max_per_user)];
    for (key, _) in limits.into_iter().filter(|(_, limit)| *limit == Some(0)) {
        mistakes.add(key, "must be at least 1", None);
    }
    if config.start_timeout == Some(Lapse(Duration::ZERO)) {
        mistakes.add("start-timeout", "must be more than nothing", None);
    }
}

fn check_site_paths(written: &[String], mistakes: &mut Mistakes) -> Vec<String> {
    let mut paths = Vec::new();
    for path in written {
        let inner = path.trim_matches('/');
        let is_plain = !inner.is_empty()
            && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~.".contains(&b))
            && !inner.starts_with('.');
        if is_plain {
            paths.push(inner.to_owned());
        } else {
            let problem = format!("{path:?} must be one word, such as \"shutdown\"");
            mistakes.add("site-paths", problem, None);
        }
    }
    paths
}

fn check_origins(written: &[String], mistakes: &mut Mistakes) -> Vec<String> {
    let mut origins = Vec::new();
    for text in written {
        if text == "*" {
            let hint = "name each origin: whoever may use cookies may run code here";
            mistakes.add("allow-origin", "must not be \"*\"", Some(hint));
        } else if let Some(origin) = Origin::parse(text.as_bytes()) {
            origins.push(origin.to_string());
        } else {
            let problem = format!("{text:?} is no origin");
            mistakes.add("allow-origin", problem, Some("for example `https://www.example.com`"));
        }
    }
    origins
}

fn check_arguments(written: &[String], mistakes: &mut Mistakes) {
    for argument in written {
        let name = argument.split('=').next().unwrap_or_default().to_ascii_lowercase();
        if OURS.contains(&name.as_str()) {
            let problem = format!("must not hold `{argument}`: perijove sets that itself");
            mistakes.add("arguments", problem, None);
        }
    }
}

fn check_environment(config: &Config, mistakes: &mut Mistakes) {
    for (name, value) in &config.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            mistakes.add("environment", format!("{name:?} cannot be a variable"), None);
        }
    }
}

/// The path from the folder of the configuration; links are left as they are, since a virtual
/// environment is known by the link that its Python is.
pub(super) fn absolute(base: &Path, path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in base.join(path).components() {
        if part != Component::CurDir {
            whole.push(part);
        }
    }
    whole
}
