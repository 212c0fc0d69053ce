//! Where settings come from: the file, above it the environment, above that the command line.
//!
//! This is the only place that reads the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::{
    entry::{Entry, Origin, Value},
    mistakes::{Mistake, Mistakes},
    text,
};

/// The name of the file that is looked for.
pub(crate) const FILE_NAME: &str = "perijove.toml";

/// A larger file is refused before it is read: nobody wrote it by hand.
const FILE_LIMIT: u64 = 1 << 20;

/// Variables that begin like a setting and are none.
const NO_SETTINGS: [&str; 3] = [PACKAGE, "PERIJOVE_CONTROL", crate::handover::VARIABLE];

/// Where the Python package lies, when it is not beside the program.
pub(crate) const PACKAGE: &str = "PERIJOVE_PACKAGE";

/// Settings under names that other platforms gave them, with the key each stands for. They rank
/// below `PERIJOVE_…` and above the file, since a platform that sets them means them.
const FOREIGN: [(&str, &[&str]); 5] = [
    ("OPENSHIFT_PYTHON_SERVER", &["site", "server"]),
    ("OPENSHIFT_PYTHON_WORKERS", &["site", "workers"]),
    ("WEB_CONCURRENCY", &["site", "workers"]),
    ("APP_MODULE", &["site", "app"]),
    ("PORT", &["listen"]),
];

/// The environment of the program, taken once at the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    /// All of it, as it came.
    pairs: Vec<(OsString, OsString)>,
    executable: Option<PathBuf>,
    invocation: Invocation,
}

/// How this program was started, so that it can be started again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    /// Not resolved: where a link leads may change, and a file may be replaced.
    pub(crate) program: Option<PathBuf>,
    /// Without the program's name.
    pub(crate) arguments: Vec<OsString>,
}

impl Invocation {
    fn of_process(executable: Option<&Path>, pairs: &[(OsString, OsString)]) -> Self {
        let mut arguments = std::env::args_os();
        let name = arguments.next().map(PathBuf::from);
        let here = std::env::current_dir().ok();
        let named = name.and_then(|name| match name.components().count() {
            0 => None,
            1 => {
                let (_, folders) = pairs.iter().find(|(variable, _)| variable == "PATH")?;
                let mut found = std::env::split_paths(folders).map(|folder| folder.join(&name));
                found.find(|path| path.is_file())
            }
            _ => Some(here?.join(name)),
        });
        // A name can be anything: it counts when it leads to this very program.
        let leads_here = |path: &PathBuf| path.canonicalize().ok().as_deref() == executable;
        let program = named.filter(leads_here).or(executable.map(Path::to_owned));
        Self { program, arguments: arguments.collect() }
    }
}

impl Environment {
    /// That of this process. What is not UTF-8 cannot be a setting and is left out.
    pub(crate) fn of_process() -> Self {
        let executable = std::env::current_exe().ok();
        let pairs: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let text = |(name, value): &(OsString, OsString)| {
            Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
        };
        let invocation = Invocation::of_process(executable.as_deref(), &pairs);
        Self { variables: pairs.iter().filter_map(text).collect(), pairs, executable, invocation }
    }

    /// All of it, for the processes of the site.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.pairs.iter().cloned()
    }

    /// The value of a variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// How this program was started.
    pub(crate) fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    /// The file that this program was started from.
    pub(crate) fn executable(&self) -> Option<&Path> {
        self.executable.as_deref()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: pairs.into(), ..Self::default() }
    }
}

/// Whether the environment asks for no colour. Read where it is needed, since failures are told
/// before there is a configuration.
pub(crate) fn is_no_color() -> bool {
    Environment::of_process().get("NO_COLOR").is_some()
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) listen: Vec<String>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) watch: bool,
}

/// All layers, one over the other.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) root: Entry,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// What relative paths begin at: the folder of the file, else the current one.
    pub(crate) folder: PathBuf,
    /// What could not even be read.
    pub(crate) mistakes: Mistakes,
}

/// Reads every layer. `folder` is the current folder.
pub(crate) fn gather(flags: &Flags, environment: &Environment, folder: &Path) -> Layers {
    let mut mistakes = Mistakes::default();
    let file = find_file(flags, folder);
    let mut root = Entry::empty();
    if let Some(file) = &file {
        match read_file(file) {
            Ok(content) => {
                let (entries, wrong) = text::parse(&shown(file, folder), &content);
                root = entries;
                mistakes.extend(wrong);
            }
            Err(error) => mistakes.push(unreadable(file, &error)),
        }
    }
    root.lay_over(foreign(environment));
    root.lay_over(variables(environment));
    root.lay_over(options(flags, folder));
    let base = file.as_deref().and_then(Path::parent).unwrap_or(folder);
    Layers { root, folder: folder.join(base), file, mistakes }
}

/// The file that is named, else the one in the current folder, else the one in the site's.
fn find_file(flags: &Flags, folder: &Path) -> Option<PathBuf> {
    if let Some(named) = &flags.config {
        let named = folder.join(named);
        return Some(if named.is_dir() { named.join(FILE_NAME) } else { named });
    }
    let here = folder.join(FILE_NAME);
    let there = flags.root.as_ref().map(|root| folder.join(root).join(FILE_NAME));
    Some(here).into_iter().chain(there).find(|path| path.exists())
}

fn read_file(file: &Path) -> io::Result<String> {
    if std::fs::metadata(file)?.len() > FILE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    std::fs::read_to_string(file)
}

fn unreadable(file: &Path, error: &io::Error) -> Mistake {
    let mistake =
        Mistake::new(Origin::Default, format!("could not read {}: {error}", file.display()));
    match error.kind() {
        io::ErrorKind::NotFound => {
            mistake.hint("name the file with --config, or make one with `perijove init`")
        }
        io::ErrorKind::InvalidData => mistake.hint("save the file as UTF-8"),
        _ => mistake,
    }
}

/// A path as it is told to people: relative where that is shorter.
fn shown(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

/// Settings under foreign names; of two for the same key the first in the table wins.
fn foreign(environment: &Environment) -> Entry {
    let mut layer = Entry::empty();
    for (name, keys) in FOREIGN.iter().rev() {
        let Some(value) = environment.get(name) else { continue };
        let value = if *name == "PORT" { format!("0.0.0.0:{value}") } else { value.to_owned() };
        layer.put(keys, Entry::new(Value::Raw(value), Origin::Environment((*name).into())));
    }
    layer
}

/// `PERIJOVE_SITE__WORKERS=4` → `site.workers = 4`.
fn variables(environment: &Environment) -> Entry {
    let mut layer = Entry::empty();
    for (name, value) in &environment.variables {
        let Some(rest) = name.strip_prefix("PERIJOVE_") else { continue };
        if NO_SETTINGS.contains(&name.as_str()) || rest.is_empty() {
            continue;
        }
        let keys: Vec<String> =
            rest.split("__").map(|key| key.to_lowercase().replace('_', "-")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let origin = Origin::Environment(name.as_str().into());
        layer.put(&keys, Entry::new(Value::Raw(value.clone()), origin));
    }
    layer
}

fn options(flags: &Flags, folder: &Path) -> Entry {
    let mut layer = Entry::empty();
    if !flags.listen.is_empty() {
        let origin = Origin::Flag("--listen");
        let item = |text: &String| Entry::new(Value::Text(text.clone()), origin.clone());
        let list = Value::List(flags.listen.iter().map(item).collect());
        layer.put(&["listen"], Entry::new(list, origin.clone()));
    }
    if let Some(root) = &flags.root {
        // What is named on the command line is meant from the current folder.
        let root = folder.join(root).to_string_lossy().into_owned();
        layer.put(&["site", "root"], Entry::new(Value::Text(root), Origin::Flag("--root")));
    }
    if flags.watch {
        layer.put(&["site", "watch"], Entry::new(Value::Boolean(true), Origin::Flag("--watch")));
    }
    layer
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Environment, Flags, gather};

    fn check(file: &str, environment: Environment, flags: &Flags, expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("perijove.toml"), file).unwrap();
        let layers = gather(flags, &environment, folder.path());
        let shown: Vec<String> = layers
            .root
            .leaves()
            .iter()
            .map(|(key, entry)| format!("{key} = {} # {}", entry.value, entry.origin))
            .collect();
        assert_eq!(shown, expected);
        assert_eq!(layers.folder, folder.path());
    }

    #[test]
    fn each_layer_wins_over_those_below() {
        let file = "listen = ['a']\n[site]\nworkers = 1\napp = 'x'\n";
        let none = Flags::default();
        check(
            file,
            Environment::default(),
            &none,
            &[
                "listen = [\"a\"] # perijove.toml:1",
                "site.app = \"x\" # perijove.toml:4",
                "site.workers = 1 # perijove.toml:3",
            ],
        );
        let environment = Environment::from([
            ("PERIJOVE_SITE__WORKERS", "2"),
            ("PERIJOVE_STATE_FOLDER", "/s"),
            ("PERIJOVE_CONTROL", "/not/a/setting"),
            ("WEB_CONCURRENCY", "3"),
            ("PORT", "80"),
            ("APP_MODULE", ""),
        ]);
        check(
            file,
            environment.clone(),
            &none,
            &[
                "listen = \"0.0.0.0:80\" # PORT",
                "site.app = \"x\" # perijove.toml:4",
                "site.workers = \"2\" # PERIJOVE_SITE__WORKERS",
                "state-folder = \"/s\" # PERIJOVE_STATE_FOLDER",
            ],
        );
        let flags = Flags { listen: vec!["b".to_owned()], ..Flags::default() };
        check(
            file,
            environment,
            &flags,
            &[
                "listen = [\"b\"] # --listen",
                "site.app = \"x\" # perijove.toml:4",
                "site.workers = \"2\" # PERIJOVE_SITE__WORKERS",
                "state-folder = \"/s\" # PERIJOVE_STATE_FOLDER",
            ],
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_a_mistake_only_when_it_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let gather = |flags| gather(&flags, &Environment::default(), folder.path());
        assert!(gather(Flags::default()).mistakes.is_empty());
        let named = Flags { config: Some("other.toml".into()), ..Flags::default() };
        let told = gather(named).mistakes.to_string();
        assert!(told.contains("could not read") && told.contains("perijove init"), "{told}");
    }

    #[test]
    fn the_file_of_a_named_root_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("site")).unwrap();
        std::fs::write(folder.path().join("site/perijove.toml"), "").unwrap();
        let flags = Flags { root: Some("site".into()), ..Flags::default() };
        let layers = gather(&flags, &Environment::default(), folder.path());
        assert_eq!(layers.folder, Path::new(folder.path()).join("site"));
    }
}
