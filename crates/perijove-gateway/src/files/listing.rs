//! The page of a folder that has none of its own.

use std::{fmt::Write as _, io, os::fd::OwnedFd, time::Duration};

use rustix::fs::{AtFlags, Dir, FileType};

use super::beneath::Folder;
use crate::{Response, html::Escaped};

/// Names that are listed; a folder with more says so.
const MOST: usize = 10_000;

/// A name in a folder.
struct Item {
    name: Vec<u8>,
    is_folder: bool,
    size: u64,
    /// Seconds since the Unix epoch.
    modified: u64,
}

/// What lies in a folder, which is named by its decoded path with a slash at its end: folders first,
/// each by name. What is hidden, or would not be sent, is not told.
///
/// # Errors
/// When there is no such folder, or it cannot be read.
pub(super) fn answer(folder: &Folder, path: &[u8], now: u64) -> io::Result<Response> {
    let names = path.strip_prefix(b"/").unwrap_or(path);
    let opened = folder.open(names, now)?;
    let (mut items, is_complete) = read(folder, names, &opened, now)?;
    items.sort_unstable_by(|a, b| (!a.is_folder, &a.name).cmp(&(!b.is_folder, &b.name)));
    let page = page(path, &items, is_complete);
    let mut answer = Response::new(200, "text/html; charset=utf-8", page);
    answer.fields.push("Cache-Control", "no-cache");
    answer.fields.push("X-Content-Type-Options", "nosniff");
    answer.fields.push("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    Ok(answer)
}

fn read(
    folder: &Folder,
    names: &[u8],
    opened: &OwnedFd,
    now: u64,
) -> io::Result<(Vec<Item>, bool)> {
    let mut items = Vec::new();
    for entry in Dir::read_from(opened)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") || name.iter().any(|b| b.is_ascii_control() || *b == b'\\') {
            continue;
        }
        if items.len() == MOST {
            return Ok((items, false));
        }
        // A link may lead out: it is there only if it can be opened as a request would.
        let stat = if entry.file_type() == FileType::Symlink {
            let opened = folder.open(&[names, name].concat(), now);
            opened.ok().and_then(|opened| rustix::fs::fstat(opened).ok())
        } else {
            rustix::fs::statat(opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()
        };
        let Some(stat) = stat else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Directory | FileType::RegularFile) {
            items.push(Item {
                name: name.to_vec(),
                is_folder: kind == FileType::Directory,
                size: u64::try_from(stat.st_size).unwrap_or_default(),
                modified: u64::try_from(stat.st_mtime).unwrap_or_default(),
            });
        }
    }
    Ok((items, true))
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{width:100%;border-collapse:collapse}td{padding:.2rem .5rem;border-top:1px solid #8884}\
td+td{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}";

fn page(path: &[u8], items: &[Item], is_complete: bool) -> String {
    let title = String::from_utf8_lossy(path);
    let mut page = String::with_capacity(1024 + 128 * items.len());
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Writing to a string does not fail.
    let _ = writeln!(page, "<title>{}</title>\n<style>{STYLE}</style>", Escaped(&title));
    let _ = writeln!(page, "<h1>{}</h1>\n<table>", Escaped(&title));
    if path != b"/" {
        page.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    for item in items {
        push_item(&mut page, item);
    }
    page.push_str("</table>\n");
    if !is_complete {
        let _ = writeln!(page, "<p>There are more than {MOST}.</p>");
    }
    page
}

fn push_item(page: &mut String, item: &Item) {
    let slash = if item.is_folder { "/" } else { "" };
    let name = String::from_utf8_lossy(&item.name);
    // `./`, since a name may look like a scheme.
    page.push_str("<tr><td><a href=\"./");
    for byte in &item.name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            page.push(char::from(*byte));
        } else {
            let _ = write!(page, "%{byte:02X}");
        }
    }
    let _ = write!(page, "{slash}\">{}{slash}</a><td>", Escaped(&name));
    if !item.is_folder {
        let _ = write!(page, "{}", item.size);
    }
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(item.modified);
    let _ = writeln!(page, "<td>{}", httpdate::fmt_http_date(modified));
}
