//! Programs elsewhere: where they listen, and how they are spoken to.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use perijove_gateway::{CertificateFiles, TlsError, UpstreamTls, UpstreamTlsSettings};

use super::Check;
use crate::config::{Addresses, UpstreamTls as Tls};

/// The heaviest weight that can be written.
const HEAVIEST: u32 = 1000;

/// Programs elsewhere that are equal to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ElsewherePlan {
    pub(crate) members: Vec<MemberPlan>,
    pub(crate) host: HostPlan,
    /// What paths begin with there, in place of the route's own path.
    pub(crate) path: Option<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberPlan {
    pub(crate) at: UpstreamAt,
    pub(crate) weight: u32,
}

/// Where a program elsewhere listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamAt {
    /// Host and port.
    Tcp(String),
    /// The same, under TLS.
    Tls(String, Arc<UpstreamTls>),
    Unix(PathBuf),
}

/// What they are told in Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostPlan {
    /// What the client named.
    Client,
    /// The host of their own address.
    Upstream,
    Named(String),
}

impl fmt::Display for UpstreamAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address, _) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for ElsewherePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, member) in self.members.iter().enumerate() {
            f.write_str(if nth == 0 { "" } else { ", " })?;
            write!(f, "{}", member.at)?;
            if member.weight > 1 {
                write!(f, " weight={}", member.weight)?;
            }
        }
        self.path.as_ref().map_or(Ok(()), |path| write!(f, ", as {path}"))
    }
}

/// What is written about them in one table.
pub(super) struct Written<'a> {
    /// `site` or `route[0]`.
    pub(super) table: &'a str,
    /// Where relative paths begin.
    pub(super) base: &'a Path,
    pub(super) upstream: &'a Addresses,
    pub(super) tls: Option<&'a Tls>,
    pub(super) host: Option<&'a str>,
    pub(super) path: Option<&'a str>,
}

/// None when what is written cannot be meant.
pub(super) fn decide(written: &Written<'_>, check: &mut Check<'_>) -> Option<ElsewherePlan> {
    let key = format!("{}.upstream", written.table);
    let mut read = Vec::new();
    for (nth, text) in written.upstream.0.iter().enumerate() {
        match address(text, written.base) {
            Ok(address) => read.push(address),
            Err((what, hint)) => {
                let is_one = written.upstream.0.len() == 1;
                check.wrong(
                    &if is_one { key.clone() } else { format!("{key}[{nth}]") },
                    what,
                    hint,
                );
            }
        }
    }
    if written.upstream.0.is_empty() {
        check.wrong(&key, "names no address", HINT);
    }
    let path = path(written, &read, check);
    let has_tls = read.iter().any(|address| matches!(address.at, Place::Https(_)));
    let tls = if has_tls { tls(written, check) } else { None };
    if let (Some(_), false) = (written.tls, has_tls) {
        let hint = "write the address as \"https://…\"";
        check.wrong(&format!("{key}-tls"), "no upstream is reached by TLS", hint);
    }
    let members = read.into_iter().filter_map(|address| {
        let at = match address.at {
            Place::Http(at) => UpstreamAt::Tcp(at),
            Place::Https(at) => UpstreamAt::Tls(at, tls.clone()?),
            Place::Unix(path) => UpstreamAt::Unix(path),
        };
        Some(MemberPlan { at, weight: address.weight })
    });
    let members: Vec<_> = members.collect();
    let is_whole = members.len() == written.upstream.0.len() && !members.is_empty();
    let host = host(written, check);
    is_whole.then_some(ElsewherePlan { members, host, path })
}

fn host(written: &Written<'_>, check: &mut Check<'_>) -> HostPlan {
    match written.host {
        None | Some("client") => HostPlan::Client,
        Some("upstream") => HostPlan::Upstream,
        Some(name) => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
            if name.is_empty() || !name.chars().all(is_name) {
                let what = format!("{name:?} is no name of a host");
                let hint = "write \"client\", \"upstream\", or a name";
                check.wrong(&format!("{}.upstream-host", written.table), what, hint);
            }
            HostPlan::Named(name.to_owned())
        }
    }
}

fn path(written: &Written<'_>, read: &[Address], check: &mut Check<'_>) -> Option<String> {
    let key = format!("{}.upstream-path", written.table);
    let first = read.first().and_then(|address| address.path.clone());
    if read.iter().any(|address| address.path != first) {
        let what = "the addresses have different paths";
        check.wrong(&format!("{}.upstream", written.table), what, "equals have the same path");
    }
    let Some(path) = written.path else { return first };
    if first.is_some() {
        check.wrong(&key, "the address has a path too", "take one of them out");
    }
    if !is_path(path) {
        check.wrong(&key, format!("{path:?} is no path"), "write \"/\", or \"/base/\"");
    }
    Some(path.to_owned())
}

/// What a path consists of that can stand in a request as it is.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|b| matches!(b, b'!'..=b'~') && !b"?#\\".contains(&b))
}

fn tls(written: &Written<'_>, check: &mut Check<'_>) -> Option<Arc<UpstreamTls>> {
    let key = format!("{}.upstream-tls", written.table);
    let Tls { ca, certificate, key: private, name } = written.tls.cloned().unwrap_or_default();
    let at = |path: PathBuf| written.base.join(path);
    let certificate = match (certificate, private) {
        (Some(certificate), Some(private)) => {
            Some(CertificateFiles { certificate: at(certificate), key: at(private) })
        }
        (None, None) => None,
        _ => {
            let hint = "name the file with the certificate, and that with its private key";
            check.wrong(&key, "`certificate` and `key` go together", hint);
            return None;
        }
    };
    let settings = UpstreamTlsSettings { authority: ca.map(at), certificate, name };
    match UpstreamTls::load(settings) {
        Ok(tls) => Some(Arc::new(tls)),
        Err(error) => {
            let cause = error.source().map_or_else(String::new, |cause| format!(" ({cause})"));
            let hint = match error {
                TlsError::NobodyBelieved => {
                    "install the package `ca-certificates`, or name a file in `upstream-tls.ca`"
                }
                _ => "",
            };
            check.wrong(&key, format!("{error}{cause}"), hint);
            None
        }
    }
}

const HINT: &str =
    "write \"http://127.0.0.1:9000\", \"https://app.example\" or \"unix:/run/site.sock\"";

/// An address as it was written.
#[derive(Debug)]
struct Address {
    at: Place,
    path: Option<String>,
    weight: u32,
}

#[derive(Debug)]
enum Place {
    /// Host and port.
    Http(String),
    Https(String),
    Unix(PathBuf),
}

/// Reads one address, with a weight behind it. The error is what is wrong and a hint.
fn address(text: &str, base: &Path) -> Result<Address, (String, &'static str)> {
    let (place, weight) = match text.split_once(" weight=") {
        None => (text, 1),
        Some((place, weight)) => {
            let read = weight.parse().ok().filter(|weight| (1..=HEAVIEST).contains(weight));
            let what = || (format!("{weight:?} is no weight"), "a number from 1 to 1000");
            (place, read.ok_or_else(what)?)
        }
    };
    let wrong = || (format!("{text:?} is no address of a program"), HINT);
    if let Some(path) = place.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address { at: Place::Unix(base.join(path)), path: None, weight });
    }
    let (scheme, rest) = place.split_once("://").ok_or_else(wrong)?;
    let (authority, path) = match rest.find('/') {
        None => (rest, ""),
        Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
    };
    // The slash behind a host says nothing.
    let path = Some(path).filter(|path| !matches!(*path, "" | "/"));
    if path.is_some_and(|path| !is_path(path)) {
        return Err(wrong());
    }
    let at = match scheme {
        "http" => Place::Http(with_port(authority, "80").ok_or_else(wrong)?),
        "https" => Place::Https(with_port(authority, "443").ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    Ok(Address { at, path: path.map(str::to_owned), weight })
}

/// A host with its port; `None` when it is no host.
fn with_port(authority: &str, usual: &str) -> Option<String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, usual),
    };
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let is_host = !host.is_empty() && host.chars().all(is_bare);
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_host && is_port).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Place, address};

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, expected: Option<&str>| {
            let read = address(text, Path::new("/site")).ok().map(|read| {
                let at = match read.at {
                    Place::Http(at) => format!("http {at}"),
                    Place::Https(at) => format!("https {at}"),
                    Place::Unix(path) => format!("unix {}", path.display()),
                };
                let path = read.path.map_or_else(String::new, |path| format!(" {path}"));
                let weight =
                    if read.weight == 1 { String::new() } else { format!(" {}", read.weight) };
                format!("{at}{path}{weight}")
            });
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("http://127.0.0.1:9000", Some("http 127.0.0.1:9000"));
        check("http://site.example/", Some("http site.example:80"));
        check("http://[::1]:90", Some("http [::1]:90"));
        check("http://[::1]", Some("http [::1]:80"));
        check("https://site.example", Some("https site.example:443"));
        check("https://site.example:8443/base/", Some("https site.example:8443 /base/"));
        check("unix:site.sock", Some("unix /site/site.sock"));
        check("http://a:1 weight=3", Some("http a:1 3"));
        check("unix:s weight=2", Some("unix /site/s 2"));
        check("http://a:1 weight=0", None);
        check("http://a:1 weight=1001", None);
        check("http://a:1 wait=1", None);
        check("site.example:80", None);
        check("ftp://site.example", None);
        check("http://site/with?query", None);
        check("http://me@site/", None);
        check("http://site:0", None);
        check("http://", None);
        check("unix:", None);
    }
}
