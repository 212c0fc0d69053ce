//! What people and programs see of an error.

use std::sync::Arc;

use perijove_gateway::{
    Guard, Pass, Question, Response, Route, Target, UpstreamSettings, Upstreams, Verdict,
};

use crate::site::{Site, service};

#[tokio::test]
async fn errors_come_in_the_form_that_is_asked_for() {
    let site = Site::new().says("/here", "x").start();
    let mut client = site.connect().await;
    let page = client.get("/missing").await;
    assert_eq!((page.status(), page.get("content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("there is nothing at this address"));
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    let json =
        client.ask("GET /missing HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n").await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["status"], 404);
    client.get("/here").await.shows(200, "x");
}

#[tokio::test]
async fn the_site_may_have_its_own_pages() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("404.html"), "our own").unwrap();
    let site = Site::new().with(|plan| plan.error_pages = Some(folder.path().to_owned())).start();
    site.connect().await.get("/missing").await.shows(404, "our own");
}

#[tokio::test]
async fn nobody_to_answer_is_said_so_with_a_time_to_come_back() {
    let settings = UpstreamSettings {
        wait: std::time::Duration::from_millis(50),
        ..UpstreamSettings::default()
    };
    let upstreams = Upstreams::new(settings);
    let site = Site::new()
        .route("/", Route::new(Target::Proxy { files: Arc::from([]), upstreams }))
        .start();
    let answer = site.connect().await.get("/").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.get("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn methods_that_are_for_proxies_are_refused() {
    let site = Site::new().says("/", "x").start();
    let answer = site.connect().await.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status(), 405);
}

#[derive(Debug)]
struct Doorkeeper;

impl Guard for Doorkeeper {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        let verdict = match question.head.path() {
            b"/g/in" => {
                let mut fields = perijove_gateway::FieldBlock::new();
                fields.push("Set-Cookie", "seen=1");
                Verdict::Pass(Pass { subject: Some("ada".into()), fields, ..Pass::default() })
            }
            b"/g/other" => Verdict::Reroute("/h/there?x".into()),
            b"/g/round" => Verdict::Reroute("/g/other".into()),
            _ => Verdict::Refuse(Box::new(Response::redirect(303, "/login"))),
        };
        Box::pin(async move { verdict })
    }
}

#[tokio::test]
async fn guards_decide() {
    let tells = |request: perijove_gateway::ServiceRequest| {
        let target = String::from_utf8_lossy(request.head.target()).into_owned();
        let subject = request.subject.unwrap_or_else(|| "nobody".into());
        Response::new(200, "text/plain", format!("{target} {subject}"))
    };
    let mut guarded = service(tells);
    guarded.guard = Some(Arc::new(Doorkeeper));
    let activity = guarded.activity.clone();
    let site = Site::new().route("/g/", guarded).route("/h/", service(tells)).start();
    let mut client = site.connect().await;
    let passed = client.get("/g/in").await;
    passed.shows(200, "/g/in ada");
    assert_eq!(passed.get("set-cookie"), Some("seen=1"));
    client.get("/g/other").await.shows(200, "/h/there?x nobody");
    let refused = client.get("/g/out").await;
    assert_eq!((refused.status(), refused.get("location")), (303, Some("/login")));
    assert_eq!(client.get("/g/round").await.status(), 500);
    assert_eq!((activity.requests(), activity.last_action()), (1, 0));
    client.ask("POST /g/in HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(activity.requests(), 2);
    assert!(activity.last_action() > 1_700_000_000);
}
