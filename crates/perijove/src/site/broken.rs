//! The page of a site that is being developed, when its newest version cannot be loaded.

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{Response, Route, Service, ServiceRequest, Target, Upstreams};
use tokio_util::task::TaskTracker;

use super::{Source, application::Applications};
use crate::{config::Plan, control::reload::Refusal, failure::Failure};

/// Starts the applications. Whoever develops one that does not start puts it right while the program
/// runs, and is shown why until then.
pub(super) async fn start(
    source: &Source,
    plan: &Plan,
    upstreams: &Arc<Upstreams>,
    tracker: &TaskTracker,
) -> Result<(Applications, Option<Refusal>), Failure> {
    match Applications::start(source, plan, upstreams, tracker).await {
        Ok(applications) => Ok((applications, None)),
        Err(failure) if plan.life.watch => {
            tracing::error!("the site does not start: {}", failure.text());
            Ok((Applications::none(tracker), Some(Refusal::from(failure))))
        }
        Err(failure) => Err(failure),
    }
}

/// Shows why the newest version does not serve, and looks by itself whether the next one does.
#[derive(Debug)]
struct Page(String);

/// A route that answers everything with why a version does not serve.
pub(super) fn route(refusal: &Refusal) -> Route {
    Route::new(Target::Service(Arc::new(Page(page(&refusal.text)))))
}

impl Service for Page {
    fn call(&self, _: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        let mut response = Response::new(500, "text/html; charset=utf-8", self.0.clone());
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        response.fields.push("Cache-Control", "no-store");
        response.fields.push("Content-Security-Policy", policy);
        Box::pin(std::future::ready(response))
    }
}

fn page(text: &str) -> String {
    let text = escape(text);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"2\">\n<title>This version does not work</title>\n\
         <style>:root {{ color-scheme: light dark }} body {{ font: 16px/1.5 system-ui, sans-serif; \
         margin: 2em auto; max-width: 60em; padding: 0 1em }} h1 {{ font-size: 1.4em }} pre {{ \
         background: #8882; overflow: auto; padding: 1em; border-radius: 6px; font-size: .9em }}\
         </style></head>\n<body><h1>This version does not work</h1>\n<pre>{text}</pre>\n\
         <p>The page looks again by itself. It is shown because <code>site.watch</code> is on.</p>\n\
         </body></html>\n"
    )
}

fn escape(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn what_an_application_writes_is_no_markup() {
        let page = page("NameError: <script>alert('x')</script> & \"more\"");
        let expected =
            "NameError: &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more";
        assert!(page.contains(expected), "{page}");
        assert!(!page.contains("<script"));
    }
}
