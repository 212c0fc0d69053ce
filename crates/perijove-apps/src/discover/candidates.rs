//! What the code of a folder looks like: every application that could be meant, and which one is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Ambiguous, Found, What, django, paste, source::Source};
use crate::Application;

/// Names that are looked for in a module, in this order.
const NAMES: [&str; 2] = ["application", "app"];
/// Functions that make an application, in this order.
const FACTORIES: [&str; 3] = ["create_app", "make_app", "create_application"];
/// What a file must call to be an application when its own name says nothing.
const FRAMEWORKS: [&str; 8] =
    ["FastAPI", "Flask", "Starlette", "Quart", "Litestar", "Falcon", "Bottle", "Sanic"];
/// Folders that are looked into at the most.
const FOLDERS: usize = 200;

/// An application that could be meant.
#[derive(Debug)]
struct Candidate {
    application: Application,
    why: String,
    /// The module or package in whose file it was seen.
    module: String,
    /// What it is made of: candidates of these modules are parts of this one.
    source: Option<Source>,
    uses: Vec<String>,
    /// Its file is there, and nothing in it says that it is an application.
    is_faint: bool,
}

/// The one that is meant; `None` when nothing looks like an application.
pub(super) fn choose(root: &Path) -> Result<Option<Found>, Ambiguous> {
    let (mut candidates, mut why) = gather(root);
    if candidates.iter().any(|candidate| !candidate.is_faint) {
        candidates.retain(|candidate| !candidate.is_faint);
    } else {
        candidates.truncate(1);
    }
    let parts: Vec<bool> =
        candidates.iter().map(|part| is_part(part, &candidates, &mut why)).collect();
    let mut whole = parts.iter();
    // Two that import each other say nothing about which one is meant.
    if parts.contains(&false) {
        candidates.retain(|_| !whole.next().copied().unwrap_or_default());
    }
    if candidates.len() > 1 {
        let told = |candidate: Candidate| (candidate.name(), candidate.why);
        return Err(Ambiguous { candidates: candidates.into_iter().map(told).collect() });
    }
    Ok(candidates.pop().map(|candidate| {
        why.insert(0, candidate.why);
        Found { what: What::Application(candidate.application), why }
    }))
}

/// Whether another candidate is made of this one.
fn is_part(part: &Candidate, all: &[Candidate], why: &mut Vec<String>) -> bool {
    let whole = all.iter().find(|other| {
        let is_used = other.uses.contains(&part.module)
            || other.source.as_ref().is_some_and(|source| source.imports(&part.module));
        other.module != part.module && is_used
    });
    if let Some(whole) = whole {
        why.push(format!("{} is part of {}", part.name(), whole.name()));
    }
    whole.is_some()
}

/// Every candidate in the order in which they are looked for, and what there is to say beside.
fn gather(root: &Path) -> (Vec<Candidate>, Vec<String>) {
    let mut told = Vec::new();
    let mut found: Vec<Candidate> = ["app", "wsgi", "asgi"]
        .into_iter()
        .filter_map(|module| of_module(root, module, true))
        .chain(of_module(root, "main", false))
        .chain(of_script(root))
        .collect();
    match django::find(root) {
        Some(Ok((name, why))) => {
            let module = name.split(':').next().unwrap_or_default().to_owned();
            let package = module.split('.').next().unwrap_or_default().to_owned();
            found.push(Candidate::new(Application::Module(name), why, module, vec![package]));
        }
        Some(Err(why_not)) => told.push(why_not),
        None => {}
    }
    for ini in paste::find(root) {
        let why = format!("{} is a PasteDeploy file", ini.name);
        let application = Application::Ini(root.join(&ini.name));
        found.push(Candidate::new(application, why, ini.name, ini.uses));
    }
    found.extend(packages(root).iter().filter_map(|package| of_package(root, package)));
    (found, told)
}

impl Candidate {
    /// As it can be written in `site.app`.
    fn name(&self) -> String {
        match &self.application {
            Application::Module(name) => name.clone(),
            // It lies in the folder itself.
            Application::Ini(_) | Application::Command(_) => self.module.clone(),
        }
    }

    fn new(application: Application, why: String, module: String, uses: Vec<String>) -> Self {
        Self { application, why, module, source: None, uses, is_faint: false }
    }
}

/// `module.py`. A well-known name is believed even when nothing of an application can be seen in
/// it: the worker will say what is wrong.
fn of_module(root: &Path, module: &str, is_well_known: bool) -> Option<Candidate> {
    let source = Source::read(&root.join(format!("{module}.py")))?;
    if !is_well_known && !source.calls(&FRAMEWORKS) {
        return None;
    }
    let seen = seen_in(&source);
    if seen.is_none() && !is_well_known {
        return None;
    }
    let why = match &seen {
        Some(name) => format!("{module}.py defines `{name}`"),
        None => format!("{module}.py is there"),
    };
    let is_faint = seen.is_none();
    let name = seen.unwrap_or_else(|| "application".to_owned());
    let application = Application::Module(format!("{module}:{name}"));
    let candidate = Candidate::new(application, why, module.to_owned(), Vec::new());
    Some(Candidate { source: Some(source), is_faint, ..candidate })
}

/// `wsgi/application`, a file of Python without an ending, as users of `mod_wsgi` have it.
fn of_script(root: &Path) -> Option<Candidate> {
    let source = Source::read(&root.join("wsgi/application"))?;
    let why = "wsgi/application is a file of Python".to_owned();
    let application = Application::Module("wsgi/application:application".to_owned());
    let candidate = Candidate::new(application, why, "wsgi/application".to_owned(), Vec::new());
    Some(Candidate { source: Some(source), ..candidate })
}

/// A package that makes an application, or whose `main.py` does.
fn of_package(root: &Path, package: &str) -> Option<Candidate> {
    let folder = root.join(package);
    let own = Source::read(&folder.join("__init__.py"))?;
    let (source, module, file) = if seen_in(&own).is_some() {
        (own, package.to_owned(), format!("{package}/__init__.py"))
    } else {
        let main = Source::read(&folder.join("main.py")).filter(|main| main.calls(&FRAMEWORKS))?;
        (main, format!("{package}.main"), format!("{package}/main.py"))
    };
    let name = seen_in(&source)?;
    let why = format!("{file} defines `{name}`");
    let application = Application::Module(format!("{module}:{name}"));
    let candidate = Candidate::new(application, why, package.to_owned(), Vec::new());
    Some(Candidate { source: Some(source), ..candidate })
}

/// The name of the application in a module, or the call that makes it.
fn seen_in(source: &Source) -> Option<String> {
    let name = NAMES.into_iter().find(|name| source.defines(name)).map(str::to_owned);
    name.or_else(|| {
        let factory = FACTORIES.into_iter().find(|name| source.defines_factory(name))?;
        Some(format!("{factory}()"))
    })
}

/// The packages that lie in a folder, by name; environments and tests are none of the site.
fn packages(root: &Path) -> Vec<String> {
    let is_package =
        |path: &PathBuf| path.join("__init__.py").is_file() && !path.join("pyvenv.cfg").exists();
    let mut names: Vec<String> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .take(FOLDERS)
        .map(|entry| entry.path())
        .filter(is_package)
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| !name.starts_with('.') && !matches!(name.as_str(), "test" | "tests"))
        .collect();
    names.sort();
    names
}
