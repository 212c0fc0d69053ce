//! The documents that are shown instead of errors.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{Answer, Made, answer, at_once, find};
use crate::{
    Body, Client, Head, Request, Response, Route, body,
    connection::Door,
    error::{Page, wants_json},
    finish::{ErrorDocument, Finish},
    media_type,
};

/// How long the site may take for a document: what it is to explain may be that the site is slow.
const PAGE_TIME: Duration = Duration::from_secs(5);
/// Longer documents are not shown.
const LONGEST: u64 = 1 << 20;

/// Answers a request of a route whose errors are changed.
pub(super) async fn answer_with_documents(
    door: Arc<Door>,
    route: Arc<Route>,
    request: Request,
) -> Made {
    let (head, client) = (request.head.clone(), request.client.clone());
    let finish = route.finish.clone();
    let made = answer(door.clone(), route, request).await;
    let Some(finish) = finish else { return made };
    let asker = Asker { door: &door, finish: &finish, head: &head, client: &client };
    let fault = match made {
        Ok(Answer::Response(made)) => match finish.send_file(made, &head) {
            Ok(mut made) => {
                asker.replace(&mut made).await;
                finish.polish(&mut made, &head);
                return Ok(Answer::Response(made));
            }
            Err(fault) => fault,
        },
        Err(fault) => fault,
        upgrade @ Ok(Answer::Upgrade(_)) => return upgrade,
    };
    let page = asker.page(fault.status).await;
    Err(fault.dressed(finish.fields.clone(), page))
}

/// Who is to be shown a document.
struct Asker<'a> {
    door: &'a Arc<Door>,
    finish: &'a Finish,
    head: &'a Head,
    client: &'a Client,
}

impl Asker<'_> {
    /// Puts the document of an error that the target has answered in the place of its body.
    async fn replace(&self, answer: &mut Response) {
        let documents = self.finish.documents.as_ref();
        if answer.status < 400 || !documents.is_some_and(|documents| documents.overrides) {
            return;
        }
        let status = answer.status;
        let of_folder = || {
            let page = self.door.pages.own_page(status)?;
            Some(Page { content_type: HTML.into(), body: page })
        };
        let page = match self.page(status).await {
            None if !wants_json(self.head) => of_folder(),
            page => page,
        };
        let Some(page) = page else { return };
        answer.fields.retain(|name, _| {
            let name = name.to_ascii_lowercase();
            !(name.starts_with(b"content-")
                || [b"etag".as_slice(), b"last-modified", b"accept-ranges"].contains(&&*name))
        });
        answer.fields.push("Content-Type", page.content_type.as_bytes());
        answer.body = Body::Full(page.body);
    }

    /// The document of a status; programs that want JSON are not shown any.
    async fn page(&self, status: u16) -> Option<Page> {
        let documents = self.finish.documents.as_ref()?;
        let document = documents.of(status).filter(|_| !wants_json(self.head))?;
        let page = match document {
            ErrorDocument::File(path) => documents.read(path).map(|body| {
                let name = path.as_os_str().as_encoded_bytes();
                Page { content_type: media_type(name).into(), body }
            }),
            ErrorDocument::Path(path) => {
                timeout(PAGE_TIME, self.ask(path, status)).await.ok().flatten()
            }
        };
        if page.is_none() {
            tracing::warn!(status, ?document, "the document of an error cannot be shown");
        }
        page
    }

    /// Asks the site for a document. Its own errors have none: it is asked once. Who was not let pass
    /// is not shown one behind a guard either, which need not be asked for that.
    async fn ask(&self, path: &str, status: u16) -> Option<Page> {
        let fields: Vec<_> = self.head.fields().filter(|(name, _)| is_passed_on(name)).collect();
        let head = Head::from_parts("GET", path.as_bytes(), &fields).ok()?;
        let head = head.with_version(self.head.version());
        let request = Request { head, body: Body::Empty, client: self.client.clone() };
        let route = find(self.door, &request).ok()?;
        if route.guard.is_some() && matches!(status, 401 | 403) {
            return None;
        }
        let at_once = if route.guard.is_none() { at_once(&route, &request) } else { None };
        let made: Response = match at_once {
            Some(made) => made.ok()?,
            None => match answer(self.door.clone(), route, request).await.ok()? {
                Answer::Response(made) => made,
                Answer::Upgrade(_) => return None,
            },
        };
        if !(200..300).contains(&made.status) || made.fields.contains("content-encoding") {
            return None;
        }
        let content_type = made.fields.get("content-type").unwrap_or(HTML.as_bytes());
        let content_type = String::from_utf8_lossy(content_type).into_owned();
        let body: Bytes = body::whole(made.body, LONGEST).await.ok()?;
        Some(Page { content_type: content_type.into(), body })
    }
}

const HTML: &str = "text/html; charset=utf-8";

/// Who asks is told to the site; what was asked, and how it is to be sent, is not.
fn is_passed_on(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    !(name.starts_with(b"content-")
        || name.starts_with(b"if-")
        || name.starts_with(b"sec-websocket-")
        || [
            b"range".as_slice(),
            b"expect",
            b"upgrade",
            b"connection",
            b"transfer-encoding",
            b"accept-encoding",
            b"te",
            b"trailer",
        ]
        .contains(&&*name))
}
