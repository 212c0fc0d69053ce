//! Files that an application has sent instead of its answer: `X-Sendfile`, `X-Accel-Redirect`.

use std::{
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use crate::{FieldBlock, FileMemory, FileSettings, Files, Head, Response, error::Fault};

/// Names a file by its path on the disk.
const SENDFILE: &str = "x-sendfile";
/// Names one by a path that clients cannot reach.
const ACCEL: &str = "x-accel-redirect";

/// Which files answers may name, to be sent instead of them.
#[derive(Debug)]
pub struct SendFiles {
    /// By their paths on the disk, without links.
    folders: Vec<(PathBuf, Files)>,
    /// By paths of their own.
    internal: Vec<Files>,
}

impl SendFiles {
    /// Below `folders` by `X-Sendfile`, and what is `internal` by `X-Accel-Redirect`. `compresses`:
    /// texts in the folders are compressed, and kept so.
    pub fn new(
        folders: &[PathBuf],
        internal: Vec<Files>,
        memory: &FileMemory,
        compresses: bool,
    ) -> Self {
        let open = |folder: &PathBuf| {
            let memory = memory.clone();
            let settings = FileSettings { compresses, memory, ..FileSettings::plain() };
            (folder.clone(), Files::new("", folder.clone(), settings))
        };
        Self { folders: folders.iter().map(open).collect(), internal }
    }

    /// The file that an answer names, with what it says about it; the answer itself when it names
    /// none.
    ///
    /// # Errors
    /// 404 when there is no such file, 500 when it is not among those that may be sent.
    pub(super) fn answer(&self, answer: Response, head: &Head) -> Result<Response, Fault> {
        let sent = if let Some(path) = answer.fields.get(SENDFILE) {
            self.by_path(path, head)
        } else if let Some(path) = answer.fields.get(ACCEL) {
            self.by_address(path, head)
        } else {
            return Ok(answer);
        };
        Ok(joined(sent?, &answer.fields))
    }

    fn by_path(&self, path: &[u8], head: &Head) -> Result<Response, Fault> {
        let written = Path::new(std::ffi::OsStr::from_bytes(path));
        let found = self.below(written).or_else(|| {
            // The application may know the folder by another name.
            self.below(&written.canonicalize().ok()?)
        });
        let Some((files, name)) = found else { return Err(refused("X-Sendfile", path)) };
        let mut address = String::new();
        for byte in name.as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' => address.push(char::from(*byte)),
                _ if byte.is_ascii_alphanumeric() => address.push(char::from(*byte)),
                // Writing to a string does not fail.
                _ => drop(write!(address, "%{byte:02X}")),
            }
        }
        let question = question(&format!("/{address}"), head)?;
        files.answer_to(&question).ok_or_else(|| missing("X-Sendfile", path))
    }

    /// The folder that a path lies in, and the rest of the path.
    fn below(&self, path: &Path) -> Option<(&Files, PathBuf)> {
        self.folders.iter().find_map(|(folder, files)| {
            let rest = path.strip_prefix(folder).ok()?;
            let is_below = rest.components().all(|part| matches!(part, Component::Normal(_)));
            is_below.then_some(())?;
            Some((files, rest.to_owned()))
        })
    }

    fn by_address(&self, path: &[u8], head: &Head) -> Result<Response, Fault> {
        let mut address = String::new();
        for byte in path {
            match byte {
                b'!'..=b'~' => address.push(char::from(*byte)),
                _ => drop(write!(address, "%{byte:02X}")),
            }
        }
        let question = question(&address, head).map_err(|_| refused("X-Accel-Redirect", path))?;
        let mut is_known = false;
        for files in &self.internal {
            is_known |= files.is_for(&question);
            if let Some(answer) = files.answer_to(&question) {
                return Ok(answer);
            }
        }
        Err(if is_known {
            missing("X-Accel-Redirect", path)
        } else {
            refused("X-Accel-Redirect", path)
        })
    }
}

/// The request for a file, with the conditions and ranges of the one that led to it.
fn question(address: &str, head: &Head) -> Result<Head, Fault> {
    let method = if head.method() == "HEAD" { "HEAD" } else { "GET" };
    let is_read = matches!(head.method(), "GET" | "HEAD");
    let is_condition = |name: &[u8]| {
        name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"if-"))
            || name.eq_ignore_ascii_case(b"range")
    };
    let is_passed_on = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"host")
            || name.eq_ignore_ascii_case(b"accept-encoding")
            || (is_read && is_condition(name))
    };
    let fields: Vec<_> = head.fields().filter(|(name, _)| is_passed_on(name)).collect();
    Ok(Head::from_parts(method, address.as_bytes(), &fields)?)
}

/// The answer of a file with the fields of the answer that named it. What that says of the kind of
/// the file and of caches counts; its length and version are the file's.
fn joined(mut sent: Response, named: &FieldBlock) -> Response {
    let is_parts = sent
        .fields
        .get("content-type")
        .is_some_and(|kind| kind.starts_with(b"multipart/byteranges"));
    for name in ["content-type", "cache-control"] {
        if named.contains(name) && !(name == "content-type" && is_parts) {
            sent.fields.retain(|known, _| !known.eq_ignore_ascii_case(name.as_bytes()));
        }
    }
    let mut kept = named.clone();
    kept.retain(|name, _| {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let is_of_the_file = [
            SENDFILE,
            ACCEL,
            "content-length",
            "content-encoding",
            "content-range",
            "accept-ranges",
            "etag",
            "last-modified",
        ]
        .into_iter()
        .any(is);
        !is_of_the_file && !(is("content-type") && (is_parts || sent.status == 304))
    });
    sent.fields.extend(&kept);
    sent
}

fn missing(by: &str, path: &[u8]) -> Fault {
    let what = format!(
        "{by} names {}, which is not there, or hidden, or a link that leads out",
        path.escape_ascii()
    );
    tracing::warn!("{what}");
    Fault::client(404, "there is nothing at this address")
}

fn refused(by: &str, path: &[u8]) -> Fault {
    let hint = match by {
        "X-Sendfile" => "it lies below no folder of `sendfile`",
        _ => "it lies below no static path that is `internal`",
    };
    Fault::ours(500, format!("{by} names {}, which may not be sent: {hint}", path.escape_ascii()))
}
