//! Files that are served as they are: of the site, or at a path of their own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use perijove_gateway::{CacheRule, FileMemory, FileSettings, Files, MediaTypes};

use super::Check;
use crate::config::{CacheRule as WrittenRule, Route, Site, Static};

/// Files at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StaticPlan {
    pub(crate) path: String,
    pub(crate) place: FilesAt,
    index: Vec<String>,
    is_listed: bool,
    fallback: Option<String>,
    cache_rules: Vec<CacheRule>,
    knows_fingerprints: bool,
    types: MediaTypes,
    /// Small texts are kept compressed.
    compresses: bool,
    /// Sent only where an answer of the application says so.
    pub(crate) is_internal: bool,
}

/// What lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilesAt {
    Folder(PathBuf),
    File(PathBuf),
}

impl std::fmt::Display for FilesAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "files of {}", folder.display()),
            Self::File(file) => write!(f, "the file {}", file.display()),
        }
    }
}

impl StaticPlan {
    /// What lies below a folder, served as it is by default.
    fn of_folder(path: &str, folder: PathBuf) -> Self {
        Self {
            path: path.to_owned(),
            place: FilesAt::Folder(folder),
            index: FileSettings::default().index,
            is_listed: false,
            fallback: None,
            cache_rules: Vec::new(),
            knows_fingerprints: true,
            types: MediaTypes::default(),
            compresses: true,
            is_internal: false,
        }
    }

    /// The files, as the gateway serves them.
    pub(crate) fn open(&self, memory: &FileMemory) -> Files {
        let settings = FileSettings {
            index: self.index.clone(),
            is_listed: self.is_listed,
            fallback: self.fallback.clone(),
            cache_rules: self.cache_rules.clone(),
            knows_fingerprints: self.knows_fingerprints,
            types: self.types.clone(),
            compresses: self.compresses,
            memory: memory.clone(),
        };
        match &self.place {
            FilesAt::Folder(folder) => Files::new(&self.path, folder.clone(), settings),
            FilesAt::File(file) => Files::single(&self.path, file, settings),
        }
    }
}

/// The files of the site, in the order in which they are asked.
pub(super) fn of_site(site: &Site, root: &Path, check: &mut Check<'_>) -> Vec<StaticPlan> {
    let Some(written) = &site.files else {
        let public = root.join("public");
        let found = Some(public).filter(|public| public.is_dir());
        let plan =
            |public| StaticPlan { compresses: site.compress, ..StaticPlan::of_folder("/", public) };
        return found.map(plan).into_iter().collect();
    };
    let decide = |(at, item): (usize, &Static)| {
        let key = format!("site.static[{at}]");
        let path = item.path.clone().unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') {
            let what = format!("{path:?} does not begin with a slash");
            check.wrong(&format!("{key}.path"), what, "for example \"/media/\"");
        }
        let options = Options::of_static(item);
        let plan = options.decide(&path, root, &key, check)?;
        Some(StaticPlan { is_internal: item.internal, compresses: site.compress, ..plan })
    };
    written.iter().enumerate().filter_map(decide).collect()
}

/// The files of a route, which has a folder or a file.
pub(super) fn of_route(
    at: usize,
    (route, path): (&Route, &str),
    site: &Site,
    check: &mut Check<'_>,
) -> Option<StaticPlan> {
    let base = check.layers.folder.clone();
    let plan = Options::of_route(route).decide(path, &base, &format!("route[{at}]"), check)?;
    Some(StaticPlan { compresses: route.compress.unwrap_or(site.compress), ..plan })
}

/// What is written of files, in whichever table.
struct Options<'a> {
    folder: Option<&'a Path>,
    file: Option<&'a Path>,
    index: Option<&'a [String]>,
    is_listed: bool,
    fallback: Option<&'a str>,
    cache: &'a [WrittenRule],
    immutable: Option<bool>,
    types: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    fn of_static(item: &'a Static) -> Self {
        Self {
            folder: item.folder.as_deref(),
            file: item.file.as_deref(),
            index: item.index.as_deref(),
            is_listed: item.listing,
            fallback: item.fallback.as_deref(),
            cache: &item.cache,
            immutable: item.immutable,
            types: &item.types,
        }
    }

    fn of_route(route: &'a Route) -> Self {
        Self {
            folder: route.folder.as_deref(),
            file: route.file.as_deref(),
            index: route.index.as_deref(),
            is_listed: route.listing,
            fallback: route.fallback.as_deref(),
            cache: &route.cache,
            immutable: route.immutable,
            types: &route.types,
        }
    }

    fn decide(
        &self,
        path: &str,
        base: &Path,
        key: &str,
        check: &mut Check<'_>,
    ) -> Option<StaticPlan> {
        let place = match (self.folder, self.file) {
            (Some(folder), None) => FilesAt::Folder(base.join(folder)),
            (None, Some(file)) => FilesAt::File(base.join(file)),
            _ => {
                let hint = "a folder of files, or one file";
                check.wrong(key, "needs either `folder` or `file`", hint);
                return None;
            }
        };
        self.check(&place, path, key, check);
        let index = self.index.map(<[String]>::to_vec);
        Some(StaticPlan {
            index: index.unwrap_or_else(|| FileSettings::default().index),
            is_listed: self.is_listed,
            fallback: self.fallback.map(str::to_owned),
            cache_rules: self.cache.iter().map(rule).collect(),
            knows_fingerprints: self.immutable.unwrap_or(true),
            types: MediaTypes::new(self.types.clone()),
            ..StaticPlan { place, ..StaticPlan::of_folder(path, PathBuf::new()) }
        })
    }

    fn check(&self, place: &FilesAt, path: &str, key: &str, check: &mut Check<'_>) {
        match place {
            FilesAt::Folder(folder) if !folder.is_dir() => {
                let what = format!("there is no folder {}", folder.display());
                check.wrong(&format!("{key}.folder"), what, "");
            }
            FilesAt::File(file) if !file.is_file() => {
                let what = format!("there is no file {}", file.display());
                check.wrong(&format!("{key}.file"), what, "");
            }
            FilesAt::File(_) if path.ends_with('/') => {
                let what = "a file does not lie at a path with a slash at its end";
                check.wrong(&format!("{key}.path"), what, "for example \"/favicon.ico\"");
            }
            FilesAt::Folder(folder) => self.check_fallback(folder, key, check),
            FilesAt::File(_) => {
                let has_folders = self.index.is_some() || self.is_listed || self.fallback.is_some();
                if has_folders {
                    let what = "`index`, `listing` and `fallback` are for a folder";
                    check.wrong(key, what, "");
                }
            }
        }
        for (name, of) in self.types {
            let is_type = of.contains('/') && of.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if name.trim_start_matches('.').is_empty() || name.contains('/') || !is_type {
                let what = format!("{name:?} = {of:?} is no type of an ending");
                let hint = "for example { wasm = \"application/wasm\" }";
                check.wrong(&format!("{key}.types"), what, hint);
            }
        }
        for (at, name) in self.index.unwrap_or_default().iter().enumerate() {
            if name.is_empty() || name.contains('/') {
                let what = format!("{name:?} is no name of a file");
                check.wrong(&format!("{key}.index[{at}]"), what, "for example \"index.html\"");
            }
        }
    }

    fn check_fallback(&self, folder: &Path, key: &str, check: &mut Check<'_>) {
        let Some(fallback) = self.fallback else { return };
        let file = folder.join(fallback.trim_start_matches('/'));
        if !file.is_file() {
            let what = format!("there is no file {}", file.display());
            check.wrong(&format!("{key}.fallback"), what, "a name below the folder");
        }
    }
}

fn rule(written: &WrittenRule) -> CacheRule {
    let WrittenRule { pattern, age, immutable } = written;
    CacheRule { pattern: pattern.clone(), age: age.0, is_immutable: *immutable }
}
