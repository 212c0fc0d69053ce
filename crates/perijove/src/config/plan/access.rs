//! Who may pass: networks, certificates of clients, functions in Python.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_apps::workers::Workers;
use perijove_gateway::network;

use super::{Application, Check, site::python};
use crate::config::{Allow, Auth, ClientVerify, Config, Route, Site, Tls};

/// Who may pass to a route, by address and certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) allow: Vec<(IpAddr, u8)>,
    pub(crate) deny: Vec<(IpAddr, u8)>,
    pub(crate) needs_certificate: bool,
}

/// Who may pass to the site, and what is asked below which paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessPlan {
    pub(crate) admission: Admission,
    /// Below these, clients need a certificate.
    pub(crate) certificate_paths: Vec<String>,
    pub(crate) auth: Option<AuthPlan>,
    pub(crate) allow: Option<AllowPlan>,
    /// What runs these functions.
    pub(crate) application: Option<Application>,
}

/// Signing in by a function in Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthPlan {
    pub(crate) script: PathBuf,
    pub(crate) realm: String,
    pub(crate) reach: Reach,
    pub(crate) group: Option<String>,
    pub(crate) group_script: Option<PathBuf>,
    pub(crate) keep_time: Duration,
}

/// Addresses judged by a function in Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowPlan {
    pub(crate) script: PathBuf,
    pub(crate) reach: Reach,
    pub(crate) keep_time: Duration,
}

/// Where a function is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    paths: Vec<String>,
    /// Left out of them.
    except: Vec<String>,
}

impl Reach {
    /// Whether it is asked at a path: what is written nearest to it counts.
    pub(crate) fn has(&self, path: &str) -> bool {
        nearest(&self.paths, path).is_some_and(|at| nearest(&self.except, path) < Some(at))
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.paths.iter().chain(&self.except)
    }
}

impl AccessPlan {
    /// Where the functions are, by what they are asked.
    pub(crate) fn scripts(&self) -> BTreeMap<&'static str, &Path> {
        let mut scripts = BTreeMap::new();
        if let Some(auth) = &self.auth {
            scripts.insert("password", auth.script.as_path());
            if auth.group.is_some() {
                scripts.insert("groups", auth.group_script.as_deref().unwrap_or(&auth.script));
            }
        }
        if let Some(allow) = &self.allow {
            scripts.insert("allow", allow.script.as_path());
        }
        scripts
    }

    /// Whether clients need a certificate at a path.
    pub(crate) fn needs_certificate(&self, path: &str) -> bool {
        nearest(&self.certificate_paths, path).is_some()
    }

    /// The paths below which something is asked that is not asked elsewhere.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let auth = self.auth.iter().flat_map(|auth| auth.reach.all());
        let allow = self.allow.iter().flat_map(|allow| allow.reach.all());
        self.certificate_paths.iter().chain(auth).chain(allow).map(String::as_str)
    }
}

/// How long the longest of the prefixes of a path is, as routes have them: a prefix without a slash at
/// its end is itself and what follows after a slash.
fn nearest(prefixes: &[String], path: &str) -> Option<usize> {
    let covers = |prefix: &&String| {
        path.strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
    };
    prefixes.iter().filter(covers).map(String::len).max()
}

pub(super) fn of_site(config: &Config, root: &Path, check: &mut Check<'_>) -> AccessPlan {
    let site = &config.site;
    let paths = paths(&site.client_certificate_paths, "site.client-certificate-paths", check);
    if !paths.is_empty() {
        needs_authority(config, "site.client-certificate-paths", check);
    }
    AccessPlan {
        admission: Admission {
            allow: networks(&site.allow_from, "site.allow-from", check),
            deny: networks(&site.deny_from, "site.deny-from", check),
            needs_certificate: false,
        },
        certificate_paths: paths,
        application: application(site, root, check),
        auth: site.auth.as_ref().and_then(|auth| self::auth(auth, root, check)),
        allow: site.allow.as_ref().and_then(|allow| self::allow(allow, root, check)),
    }
}

pub(super) fn of_route(
    at: usize,
    route: &Route,
    config: &Config,
    check: &mut Check<'_>,
) -> Admission {
    let key = |name: &str| format!("route[{at}].{name}");
    if route.client_certificate {
        needs_authority(config, &key("client-certificate"), check);
    }
    Admission {
        allow: networks(&route.allow_from, &key("allow-from"), check),
        deny: networks(&route.deny_from, &key("deny-from"), check),
        needs_certificate: route.client_certificate,
    }
}

/// A worker for the functions, if there are any.
fn application(site: &Site, root: &Path, check: &mut Check<'_>) -> Option<Application> {
    site.auth.as_ref().map(drop).or(site.allow.as_ref().map(drop))?;
    Some(Application {
        name: perijove_apps::Application::Module("perijove.access:make()".to_owned()),
        why: Vec::new(),
        root: root.to_owned(),
        python: python(site.python.as_deref(), "site.python", root, check)?,
        driver: perijove_apps::Driver::Native,
        server_arguments: Vec::new(),
        workers: Workers::written(1),
        install: false,
        threads: THREADS,
        asgi: perijove_apps::Asgi::default(),
        interface: perijove_apps::Interface::Wsgi,
        health: None,
        start_time: site.start_time.0,
    })
}

/// Questions that are answered at the same time.
const THREADS: usize = 8;

/// Without an authority nobody could pass.
fn needs_authority(config: &Config, key: &str, check: &mut Check<'_>) {
    let is_known = |tls: &Tls| tls.client_ca.is_some() && tls.client_verify != ClientVerify::Off;
    if !config.tls.as_ref().is_some_and(is_known) {
        let hint = "name the authority's certificate in `tls.client-ca`";
        check.wrong(key, "no certificate of a client is believed", hint);
    }
}

fn networks(written: &[String], key: &str, check: &mut Check<'_>) -> Vec<(IpAddr, u8)> {
    let mut found = Vec::new();
    for (at, text) in written.iter().enumerate() {
        if let Some(network) = network(text) {
            found.push(network);
        } else {
            let what = format!("{text:?} is no address and no network");
            check.wrong(&format!("{key}[{at}]"), what, "write \"127.0.0.1\" or \"10.0.0.0/8\"");
        }
    }
    found
}

fn paths(written: &[String], key: &str, check: &mut Check<'_>) -> Vec<String> {
    for (at, path) in written.iter().enumerate().filter(|(_, path)| !path.starts_with('/')) {
        let what = format!("{path:?} does not begin with a slash");
        check.wrong(&format!("{key}[{at}]"), what, "for example \"/admin/\"");
    }
    written.to_vec()
}

fn script(
    written: Option<&PathBuf>,
    key: &str,
    root: &Path,
    check: &mut Check<'_>,
) -> Option<PathBuf> {
    let Some(path) = written else {
        check.wrong(key, "`script` is missing", "name the file of Python with the functions");
        return None;
    };
    let path = root.join(path);
    if !path.is_file() {
        check.wrong(&format!("{key}.script"), format!("there is no file {}", path.display()), "");
    }
    Some(path)
}

fn auth(auth: &Auth, root: &Path, check: &mut Check<'_>) -> Option<AuthPlan> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if !auth.realm.bytes().all(is_plain) {
        check.wrong("site.auth.realm", "can be printable ASCII without quotes only", "");
    }
    let group_script = auth.group_script.as_ref().map(|path| root.join(path));
    Some(AuthPlan {
        reach: Reach {
            paths: paths(&auth.paths, "site.auth.paths", check),
            except: paths(&auth.except, "site.auth.except", check),
        },
        script: script(auth.script.as_ref(), "site.auth", root, check)?,
        realm: auth.realm.clone(),
        group: auth.group.clone(),
        group_script,
        keep_time: auth.keep_time.0,
    })
}

fn allow(allow: &Allow, root: &Path, check: &mut Check<'_>) -> Option<AllowPlan> {
    Some(AllowPlan {
        reach: Reach {
            paths: paths(&allow.paths, "site.allow.paths", check),
            except: paths(&allow.except, "site.allow.except", check),
        },
        script: script(allow.script.as_ref(), "site.allow", root, check)?,
        keep_time: allow.keep_time.0,
    })
}

#[cfg(test)]
mod tests {
    use super::Reach;

    fn check(paths: &[&str], except: &[&str], path: &str, expected: bool) {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        let reach = Reach { paths: owned(paths), except: owned(except) };
        assert_eq!(reach.has(path), expected, "{reach:?} {path}");
    }

    #[test]
    fn prefixes_cover_whole_segments() {
        let check = |prefix: &str, path: &str, expected| check(&[prefix], &[], path, expected);
        check("/", "/", true);
        check("/", "/admin/", true);
        check("/admin", "/admin", true);
        check("/admin", "/admin/", true);
        check("/admin", "/administer", false);
        check("/admin/", "/admin/static/", true);
        check("/admin/", "/admin", false);
        check("/admin/", "/", false);
    }

    #[test]
    fn what_is_written_nearest_to_a_path_counts() {
        let check = |path: &str, expected| {
            check(&["/", "/api/admin/"], &["/api/", "/health"], path, expected);
        };
        check("/", true);
        check("/x/", true);
        check("/api/", false);
        check("/api/x", false);
        check("/api/admin/", true);
        check("/health", false);
        check("/healthy", true);
    }

    #[test]
    fn a_path_that_is_named_and_left_out_is_left_out() {
        check(&["/x/"], &["/x/"], "/x/", false);
        check(&[], &["/x/"], "/x/", false);
        check(&[], &[], "/", false);
    }
}
