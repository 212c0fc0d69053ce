//! The hub's own pages: a notebook that starts, failed, is not there, is somebody else's.

use std::{pin::Pin, sync::Arc, time::Duration};

use perijove_gateway::{Body, Head, Response, Service, ServiceRequest};
use tokio::time::timeout;

use crate::{
    audit::{self, Deed},
    config::{Plan, VouchedBy},
    context::LaunchRequest,
    core::Core,
    launch::{LaunchError, launch, launch_again},
    notebook::{Notebook, split_name},
    phase::Phase,
    server::View,
    user::User,
};

mod ask;
mod events;
mod own;
mod render;

pub(crate) use ask::address as address_of_ask;
pub(crate) use own::from;
pub(crate) use render::{
    elsewhere, foreign, in_the_clear, login, no_word, not_by_that_name, not_from_here, not_here,
    not_yours, open_from_site, sign_in_first, signed_in, signed_out, stripped, too_much_told,
    wants_page,
};

use render::{absent, error, failed, progress, too_many};

/// How long a hub that is closed waits for the one that follows it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers below the path of notebooks where no notebook does.
#[derive(Debug)]
pub(crate) struct Pages {
    core: Arc<Core>,
}

/// What is asked for, below a user's address.
enum Wanted<'a> {
    Events,
    Start,
    /// One of the user's own pages.
    Own(&'a str),
    /// A page of Jupyter's; what follows the user's address.
    Page(&'a str),
}

impl Pages {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn answer(&self, request: ServiceRequest) -> Response {
        let head = &request.head;
        let Some(user) = request.subject.as_deref().and_then(|name| User::new(name).ok()) else {
            return not_yours(head);
        };
        if self.core.stop.is_cancelled() {
            return self.once_more(head).await;
        }
        let plan = self.core.plan.load_full();
        let path = String::from_utf8_lossy(head.path()).into_owned();
        let first = Notebook::first(user);
        let address = first.address(&plan);
        let Some(below) = path.strip_prefix(&address) else {
            return to_own(head, &plan, &path, &address);
        };
        let (name, below) = split_name(below);
        let notebook = Notebook::new(first.user, name);
        let address = notebook.address(&plan);
        let wanted = match below {
            "-/progress" => Wanted::Events,
            "-/start" => Wanted::Start,
            other => other.strip_prefix("-/").map_or(Wanted::Page(other), Wanted::Own),
        };
        let view = self.core.server(&notebook).map(|server| server.view());
        let may_start = plan.vouched_by == VouchedBy::Login;
        match wanted {
            Wanted::Events => events::answer(&self.core, &notebook),
            Wanted::Start if head.method() == "POST" => {
                audit::note(Deed::Launch, &notebook, own::from(&request.client), "again");
                self.start(head, &notebook, &address).await
            }
            Wanted::Start => Response::redirect(303, &address),
            Wanted::Page(_) if view.is_none() && may_start => render::absent_yet(head, &address),
            Wanted::Own(below) => own::answer(&self.core, &request, &notebook, below).await,
            Wanted::Page(below) => page(head, view.as_ref(), &address, below),
        }
    }

    /// This hub is closed: as soon as another has followed, the same is asked of that one.
    async fn once_more(&self, head: &Head) -> Response {
        match timeout(PATIENCE, self.core.followed.cancelled()).await {
            Ok(()) => arrived(head),
            Err(_) => error(head, 503, &LaunchError::Closing),
        }
    }

    async fn start(&self, head: &Head, notebook: &Notebook, address: &str) -> Response {
        let launched = match launch_again(&self.core, notebook).await {
            // Where there is no site to launch it from, a user's first one has nothing in it.
            None if self.core.plan.load().vouched_by == VouchedBy::Login => {
                Some(launch(&self.core, notebook, LaunchRequest::empty()).await)
            }
            launched => launched,
        };
        match launched {
            Some(Ok(launched)) => Response::redirect(303, &launched.url),
            Some(Err(LaunchError::QueueFull)) => too_many(head),
            Some(Err(LaunchError::Closing)) => self.once_more(head).await,
            Some(Err(failure)) => error(head, 503, &failure),
            None => Response::redirect(303, address),
        }
    }
}

impl Service for Pages {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(self.answer(request))
    }
}

/// A path that names nobody leads to the asker's own notebook.
fn to_own(head: &Head, plan: &Plan, path: &str, address: &str) -> Response {
    let below = path.strip_prefix(&plan.path).unwrap_or_default().trim_start_matches('/');
    // The own address without its last slash is that address.
    let is_own = address.trim_end_matches('/') == path;
    let below = if is_own { "" } else { below };
    if !matches!(head.method(), "GET" | "HEAD") {
        return render::not_here(head);
    }
    let query = head.query().map(|query| format!("?{}", String::from_utf8_lossy(query)));
    Response::redirect(302, &format!("{address}{below}{}", query.unwrap_or_default()))
}

/// What stands in a notebook's place while there is none.
fn page(head: &Head, view: Option<&View>, address: &str, below: &str) -> Response {
    let Some(view) = view else { return absent(head, None) };
    match view.phase {
        Phase::Starting | Phase::Stopping => {
            // Whoever came for the front page goes on to what the launch opens.
            let is_front = below.is_empty() || view.url.strip_prefix(address) == Some(below);
            progress(head, view, is_front)
        }
        Phase::Ready => arrived(head),
        Phase::Failed => failed(head, view),
        Phase::Absent | Phase::Lost => absent(head, Some(view)),
    }
}

/// The notebook became ready between the look at the routes and here: the same once more.
fn arrived(head: &Head) -> Response {
    let target = String::from_utf8_lossy(head.target());
    let mut again = Response::redirect(307, &target);
    again.fields.push("Cache-Control", "no-store");
    again.body = Body::Empty;
    again
}
