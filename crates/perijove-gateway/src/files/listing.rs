//! The page of a folder that has none of its own.

use std::{fmt::Write as _, io, os::fd::OwnedFd, time::Duration};

use rustix::fs::{AtFlags, Dir, FileType};

use super::beneath::Folder;
use crate::{
    Response,
    html::{COLOURS, Escaped},
};

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

/// What lies in a folder, which is named by its decoded path behind the prefix, with a slash at its end:
/// folders first, each by name. What is hidden, or would not be sent, is not told.
///
/// # Errors
/// When there is no such folder, or it cannot be read.
pub(super) fn answer(
    folder: &Folder,
    (prefix, path): (&[u8], &[u8]),
    now: u64,
) -> io::Result<Response> {
    let names = path.strip_prefix(b"/").unwrap_or(path);
    let opened = folder.open(names, now)?;
    let (mut items, is_complete) = read(folder, names, &opened, now)?;
    items.sort_unstable_by(|a, b| (!a.is_folder, &a.name).cmp(&(!b.is_folder, &b.name)));
    let page = page((prefix, path), &items, is_complete);
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
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{box-sizing:border-box;max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem}\
h1{margin:0 0 1.25rem;font-size:1.35rem;line-height:1.3;overflow-wrap:anywhere}\
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line)}\
th{color:var(--dim);font-size:.8rem;font-weight:600;text-align:left}\
th,td{padding:.5rem .9rem;border-top:1px solid var(--line);vertical-align:top}\
td:first-child{width:100%;overflow-wrap:anywhere}\
th+th,td+td{color:var(--dim);text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
tr:hover td{background:var(--paper)}\
a{color:inherit;text-decoration:none;display:block}a:hover,a:focus-visible{color:var(--mark);text-decoration:underline}\
.folder{font-weight:600}p{color:var(--dim)}\
@media(max-width:36rem){main{padding:1.25rem .75rem}thead{display:none}\
tr{display:grid;grid-template-columns:1fr auto;border-top:1px solid var(--line)}tr:first-child{border:0}\
td{border:0;padding:.15rem .75rem .5rem;font-size:.85rem}td:first-child{grid-column:1/-1;width:auto;padding:.5rem .75rem 0;font-size:1rem}\
td+td{text-align:left}td:last-child{text-align:right}}";

/// `path` and `prefix` are decoded; together they are what the browser shows.
fn page((prefix, path): (&[u8], &[u8]), items: &[Item], is_complete: bool) -> String {
    let place = [prefix, path].concat();
    let title = String::from_utf8_lossy(&place);
    let mut page = String::with_capacity(2048 + 192 * items.len());
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Writing to a string does not fail.
    let _ = writeln!(page, "<title>{}</title>\n<style>{COLOURS}{STYLE}</style>", Escaped(&title));
    let _ = writeln!(page, "<main>\n<h1>{}</h1>\n<table>", Escaped(&title));
    page.push_str("<thead><tr><th>Name<th>Size<th>Changed (UTC)</thead>\n<tbody>\n");
    if path != b"/" {
        page.push_str("<tr><td class=\"folder\"><a href=\"../\">../</a><td><td>\n");
    }
    for item in items {
        push_item(&mut page, item);
    }
    page.push_str("</tbody>\n</table>\n");
    if items.is_empty() {
        page.push_str("<p>There is nothing here.</p>\n");
    }
    if !is_complete {
        let _ = writeln!(page, "<p>There are more than {MOST}.</p>");
    }
    page.push_str("</main>\n</html>\n");
    page
}

fn push_item(page: &mut String, item: &Item) {
    let (slash, class) = if item.is_folder { ("/", " class=\"folder\"") } else { ("", "") };
    let name = String::from_utf8_lossy(&item.name);
    // `./`, since a name may look like a scheme.
    let _ = write!(page, "<tr><td{class}><a href=\"./");
    for byte in &item.name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            page.push(char::from(*byte));
        } else {
            let _ = write!(page, "%{byte:02X}");
        }
    }
    let _ = write!(page, "{slash}\">{}{slash}</a><td>", Escaped(&name));
    if !item.is_folder {
        page.push_str(&size(item.size));
    }
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(item.modified);
    let date = httpdate::fmt_http_date(modified);
    // `Fri, 20 Nov 2026 08:41:33 GMT`, to the minute.
    let _ = writeln!(page, "<td>{}", date.get(5..22).unwrap_or(&date));
}

/// For people: three digits or so.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10_000
        && let Some(next) = units.next()
    {
        tenths /= 1000;
        unit = Some(next);
    }
    let unit = unit.copied().unwrap_or_default();
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_for_people() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.0 kB");
        check(1290, "1.2 kB");
        check(12_900, "12 kB");
        check(999_999, "999 kB");
        check(1_000_000, "1.0 MB");
        check(u64::MAX, "18 EB");
    }
}
