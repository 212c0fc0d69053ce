//! What an error looks like to people and to programs.

use std::{
    collections::HashMap,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Mutex,
};

use bytes::Bytes;

use super::{Fault, Whose};
use crate::{
    Head, Response, clock,
    html::{COLOURS, Escaped},
};

/// A page of the site's own is read again after this many milliseconds.
const FRESH: u64 = 1000;
/// Larger files are not taken for pages.
const LARGEST: u64 = 1 << 20;

/// What is shown instead of an error.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) content_type: Box<str>,
    pub(crate) body: Bytes,
}

/// Makes answers of faults.
#[derive(Debug)]
pub(crate) struct Pages {
    folder: Option<PathBuf>,
    /// The site's own pages by status, and when they were read. Held while a file of at most 1 MiB
    /// is read, once a second.
    own: Mutex<HashMap<u16, (u64, Option<Bytes>)>>,
}

impl Pages {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, own: Mutex::default() }
    }

    /// The answer for a fault, in the form that the request asks for.
    pub(crate) fn answer(&self, fault: &Fault, head: Option<&Head>, request_id: &str) -> Response {
        let dress = fault.dress.as_deref();
        let mut answer =
            if let Some(Page { content_type, body }) = dress.and_then(|d| d.page.as_ref()) {
                Response::new(fault.status, content_type, body.clone())
            } else if head.is_some_and(wants_json) {
                Response::new(fault.status, "application/json", json(fault, request_id))
            } else if let Some(page) = self.own_page(fault.status) {
                Response::new(fault.status, "text/html; charset=utf-8", page)
            } else {
                Response::new(fault.status, "text/html; charset=utf-8", html(fault, request_id))
            };
        answer.fields.push("Cache-Control", "no-store");
        answer.fields.push("X-Content-Type-Options", "nosniff");
        if let Some(wait) = fault.retry_after {
            answer.fields.push("Retry-After", wait.as_secs().max(1).to_string());
        }
        for (name, value) in &fault.fields {
            answer.fields.push(name, value);
        }
        if let Some(dress) = dress {
            dress.fields.apply(&mut answer.fields);
        }
        answer
    }

    /// `errors/404.html` and the like.
    pub(crate) fn own_page(&self, status: u16) -> Option<Bytes> {
        let folder = self.folder.as_ref()?;
        let now = clock::now();
        let mut own = self.own.lock().ok()?;
        if let Some((read, page)) = own.get(&status)
            && now < read + FRESH
        {
            return page.clone();
        }
        let page = read_page(&folder.join(format!("{status}.html")));
        own.insert(status, (now, page.clone()));
        page
    }
}

/// A file, if it is there and not too large to be a page.
pub(crate) fn read_page(path: &Path) -> Option<Bytes> {
    let metadata = std::fs::metadata(path).ok()?;
    let is_page = metadata.is_file() && metadata.len() <= LARGEST;
    is_page.then(|| std::fs::read(path).ok().map(Bytes::from))?
}

/// Whether a program asks, rather than a browser.
pub(crate) fn wants_json(head: &Head) -> bool {
    let has = |kind: &[u8]| {
        head.get_all("accept").any(|accept| memchr::memmem::find(accept, kind).is_some())
    };
    has(b"json") && !has(b"text/html")
}

/// What is told to the client.
fn told(fault: &Fault) -> &str {
    match (fault.whose, fault.status) {
        (Whose::Client, _) => &fault.what,
        (_, 503) => "The service is busy or starting. Please try again in a moment.",
        (_, 504) => "The service behind this address did not answer in time.",
        (Whose::Upstream, _) => "The service behind this address gave no usable answer.",
        (Whose::Ours, _) => "Something went wrong here. It is not your fault, and it was logged.",
    }
}

fn title(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

fn json(fault: &Fault, request_id: &str) -> String {
    let hint = fault.retry_after.map(|wait| format!("try again in {} s", wait.as_secs().max(1)));
    let error = serde_json::json!({
        "error": told(fault), "status": fault.status, "hint": hint, "request_id": request_id,
    });
    error.to_string()
}

fn html(fault: &Fault, request_id: &str) -> String {
    let (status, title) = (fault.status, title(fault.status));
    let mut page = String::with_capacity(1400);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Writing to a string does not fail.
    let _ = writeln!(page, "<title>{status} {title}</title>\n<style>{COLOURS}{STYLE}</style>");
    let _ = writeln!(page, "<main>\n<p class=\"status\">{status}</p>\n<h1>{title}</h1>");
    let _ = writeln!(page, "<p>{}</p>", Escaped(told(fault)));
    let _ = writeln!(page, "<p class=\"id\">Request {}</p>\n</main>", Escaped(request_id));
    page.push_str("</html>\n");
    page
}

const STYLE: &str = "\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);\
font:16px/1.5 system-ui,sans-serif}\
main{box-sizing:border-box;width:min(32rem,92vw);padding:2.5rem;background:var(--card);border:1px solid var(--line);border-radius:12px}\
.status{margin:0;color:var(--mark);font-weight:600;letter-spacing:.08em}\
h1{margin:.2rem 0 1rem;font-size:1.6rem;line-height:1.2}\
p{margin:0 0 1rem}p::first-letter{text-transform:uppercase}\
.id{margin:1.5rem 0 0;color:var(--dim);font-size:.8rem}";

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pages: &Pages, fault: &Fault, accept: &str) -> (Response, String) {
        let fields: [(&[u8], &[u8]); 2] = [(b"Host", b"h"), (b"Accept", accept.as_bytes())];
        let head = Head::from_parts("GET", b"/", &fields).unwrap();
        let answer = pages.answer(fault, Some(&head), "some-id");
        let crate::Body::Full(body) = &answer.body else { panic!("a whole body") };
        let body = String::from_utf8(body.to_vec()).unwrap();
        (answer, body)
    }

    #[test]
    fn clients_are_told_what_concerns_them() {
        let pages = Pages::new(None);
        let check = |fault: Fault, shown: bool| {
            let (_, body) = answer(&pages, &fault, "text/html");
            assert_eq!(body.contains("sesame"), shown, "{fault:?}");
            assert!(body.contains("some-id") && body.contains(&fault.status.to_string()));
        };
        check(Fault::client(400, "sesame"), true);
        check(Fault::upstream(502, "sesame"), false);
        check(Fault::ours(500, "sesame"), false);
    }

    #[test]
    fn the_form_follows_the_accept_field() {
        let pages = Pages::new(None);
        let check = |accept: &str, expected: &str| {
            let fault = Fault::client(404, "there is <nothing> here");
            let (answer, body) = answer(&pages, &fault, accept);
            let kind = String::from_utf8_lossy(answer.fields.get("content-type").unwrap());
            assert!(kind.starts_with(expected), "{accept}: {kind}");
            assert!(!kind.contains("html") || body.contains("&lt;nothing&gt;"));
        };
        check("*/*", "text/html");
        check("text/html,application/json", "text/html");
        check("application/json", "application/json");
        check("application/problem+json, */*;q=0.1", "application/json");
    }

    #[test]
    fn the_site_has_its_own_pages() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("404.html"), "lost?").unwrap();
        let pages = Pages::new(Some(folder.path().to_owned()));
        assert_eq!(answer(&pages, &Fault::client(404, "x"), "*/*").1, "lost?");
        assert!(answer(&pages, &Fault::client(403, "x"), "*/*").1.contains("403"));
        let (busy, _) = answer(
            &pages,
            &Fault::ours(503, "x").retry_after(std::time::Duration::from_millis(10)),
            "application/json",
        );
        assert_eq!(busy.fields.get("retry-after").unwrap(), b"1");
    }
}
