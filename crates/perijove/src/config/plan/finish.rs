//! What is done to answers before they leave: compression, fields, documents of errors, files sent
//! instead.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use perijove_gateway::ErrorDocument;

use super::Check;
use crate::config::{Route, Site};

/// What is done to answers before they leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinishPlan {
    pub(crate) compresses: bool,
    /// Names and values; one without a value is taken out.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) documents: BTreeMap<u16, ErrorDocument>,
    /// Whether documents and pages also stand for the errors of the application.
    pub(crate) overrides: bool,
    /// What may be named in `X-Sendfile`.
    pub(crate) sendfile: Vec<PathBuf>,
}

/// Of the site.
pub(super) fn of_site(site: &Site, root: &Path, check: &mut Check<'_>) -> FinishPlan {
    FinishPlan {
        compresses: site.compress,
        fields: fields(&site.headers, "site.headers", check),
        documents: documents(site, root, check),
        overrides: site.error_override,
        sendfile: sendfile(site, root, check),
    }
}

/// Of a further path: what it says itself, then what the site says. Its errors are its own.
pub(super) fn of_route(
    at: usize,
    route: &Route,
    site: &FinishPlan,
    check: &mut Check<'_>,
) -> FinishPlan {
    let mut own = fields(&route.headers, &format!("route[{at}].headers"), check);
    let names = |own: &[(String, String)], name: &str| {
        own.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let more: Vec<_> = site.fields.iter().filter(|(name, _)| !names(&own, name)).cloned().collect();
    own.extend(more);
    FinishPlan {
        compresses: route.compress.unwrap_or(site.compresses),
        fields: own,
        documents: site.documents.clone(),
        overrides: false,
        sendfile: Vec::new(),
    }
}

/// Fields that are for the connection to say, or that must fit the body.
const NOT_OURS: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn fields(
    written: &BTreeMap<String, String>,
    key: &str,
    check: &mut Check<'_>,
) -> Vec<(String, String)> {
    for (name, value) in written {
        let key = format!("{key}.{name}");
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            check.wrong(&key, format!("{name:?} is no name of a header field"), "");
        } else if NOT_OURS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            check.wrong(&key, "is not for the configuration to say", "");
        }
        if value.chars().any(char::is_control) {
            check.wrong(&key, "holds a character that cannot be sent", "");
        }
    }
    written.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn documents(site: &Site, root: &Path, check: &mut Check<'_>) -> BTreeMap<u16, ErrorDocument> {
    let mut documents = BTreeMap::new();
    for (status, written) in &site.error_documents {
        let key = format!("site.error-documents.{status}");
        let Some(status) = status.parse().ok().filter(|status| (400..=599).contains(status)) else {
            check.wrong(&key, "is no status of an error", "400 to 599, such as `404 = \"/lost\"`");
            continue;
        };
        let file = root.join(written);
        let document = if written.starts_with('/') {
            ErrorDocument::Path(written.clone())
        } else {
            if !file.is_file() {
                let hint = "a file below the site's folder, or a path of the site with a slash \
                            at its front";
                check.wrong(&key, format!("there is no file {}", file.display()), hint);
            }
            ErrorDocument::File(file)
        };
        documents.insert(status, document);
    }
    documents
}

/// The folders, without links: what is sent must lie in them, whatever it is called.
fn sendfile(site: &Site, root: &Path, check: &mut Check<'_>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (at, written) in site.sendfile.iter().enumerate() {
        let folder = root.join(written);
        match folder.canonicalize() {
            Ok(found) if found.is_dir() => {
                folders.push(folder);
                if folders.last() != Some(&found) {
                    folders.push(found);
                }
            }
            _ => {
                let what = format!("there is no folder {}", folder.display());
                check.wrong(&format!("site.sendfile[{at}]"), what, "");
            }
        }
    }
    folders
}
