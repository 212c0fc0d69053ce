//! Who is asked when, what is remembered for how long, and what silence means.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use perijove_gateway::{Client, FieldBlock, Head, Scheme};
use tokio::{sync::Semaphore, time::advance};

use super::{Answer, Asked, Authenticator as _, Authority, Site, Word};
use crate::spawn::Pending;

/// A site that gives prepared answers, and counts the questions.
#[derive(Debug)]
struct Prepared {
    answers: Mutex<VecDeque<Option<Answer>>>,
    asked: Mutex<Vec<String>>,
    /// Answers that may be given now.
    gate: Semaphore,
}

impl Site for Prepared {
    fn ask<'a>(&'a self, question: Head, _: &'a Client) -> Pending<'a, Option<Answer>> {
        Box::pin(async move {
            let method = question.get("perijove-method").unwrap_or_default();
            self.asked.lock().unwrap().push(String::from_utf8_lossy(method).into_owned());
            self.gate.acquire().await.unwrap().forget();
            self.answers.lock().unwrap().pop_front().flatten()
        })
    }
}

struct World {
    site: Arc<Prepared>,
    authority: Arc<Authority>,
}

fn world(answers: Vec<Option<Answer>>) -> World {
    let site = Arc::new(Prepared {
        answers: Mutex::new(answers.into()),
        asked: Mutex::default(),
        gate: Semaphore::new(1000),
    });
    World { authority: Arc::new(Authority::new(site.clone())), site }
}

#[expect(clippy::unnecessary_wraps, reason = "where it is used, there may be no answer")]
fn answer(status: u16, fields: &[(&str, &str)]) -> Option<Answer> {
    let mut block = FieldBlock::new();
    for (name, value) in fields {
        block.push(name, value);
    }
    Some(Answer { status, fields: block, body: Bytes::new() })
}

fn yes() -> Option<Answer> {
    answer(200, &[("Perijove-User", "ada")])
}

fn kept_for(seconds: u64) -> Option<Answer> {
    let cache = format!("max-age={seconds}");
    answer(200, &[("Perijove-User", "ada"), ("Cache-Control", &cache)])
}

pub(super) fn client() -> Client {
    Client {
        address: Some("192.0.2.1:4000".parse().unwrap()),
        scheme: Scheme::Https,
        host: "site.example".into(),
        port: 443,
        peer: None,
        request_id: "1".into(),
        trace: None,
        proven: None,
    }
}

fn head(method: &str, fields: &[(&str, &str)]) -> Head {
    let host = ("Host", "site.example");
    let fields = std::iter::once(&host).chain(fields).map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let fields: Vec<_> = fields.collect();
    Head::from_parts(method, b"/notebook/ada/api", &fields).unwrap()
}

impl World {
    async fn ask(&self, head: &Head, is_open: bool) -> String {
        let asked = Asked { head, client: &client(), owner: "ada", is_open };
        match self.authority.ask(asked).await {
            Word::Yes(yes) => format!("{} {}", yes.user.name(), yes.ask_again.as_millis()),
            Word::Nobody => "nobody".to_owned(),
            Word::No(answer) => answer.status.to_string(),
            Word::Silence => "silence".to_owned(),
        }
    }

    async fn get(&self) -> String {
        self.ask(&head("GET", &[("Cookie", "a=1")]), false).await
    }

    async fn post(&self) -> String {
        self.ask(&head("POST", &[("Cookie", "a=1")]), false).await
    }

    async fn open(&self) -> String {
        self.ask(&head("GET", &[("Cookie", "a=1")]), true).await
    }

    fn questions(&self) -> usize {
        self.site.asked.lock().unwrap().len()
    }
}

async fn after(seconds: f64) {
    advance(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_yes_to_a_get_is_kept_for_five_seconds() {
    let world = world(vec![yes(), answer(403, &[])]);
    assert_eq!(world.get().await, "ada 3500");
    after(4.9).await;
    assert_eq!(world.get().await, "ada 3500");
    assert_eq!(world.questions(), 1);
    after(0.2).await;
    assert_eq!(world.get().await, "403");
}

#[tokio::test(start_paused = true)]
async fn changes_are_asked_about_each_time() {
    let world = world(vec![yes(), yes(), answer(403, &[])]);
    assert_eq!(world.get().await, "ada 3500");
    assert_eq!(world.post().await, "ada 3500");
    assert_eq!(world.post().await, "403");
    assert_eq!(*world.site.asked.lock().unwrap(), ["GET", "POST", "POST"]);
}

#[tokio::test(start_paused = true)]
async fn the_site_may_let_a_yes_be_kept_for_longer_or_not_at_all() {
    let world = world(vec![kept_for(60), kept_for(60), kept_for(0), answer(401, &[])]);
    assert_eq!(world.get().await, "ada 60000");
    assert_eq!(world.post().await, "ada 60000");
    after(20.0).await;
    assert_eq!(world.get().await, "ada 40000");
    assert_eq!(world.post().await, "ada 40000");
    assert_eq!(world.open().await, "ada 40000");
    assert_eq!(world.questions(), 2);
    after(40.0).await;
    assert_eq!(world.get().await, "ada 3500");
    assert_eq!(world.get().await, "401");
}

#[tokio::test(start_paused = true)]
async fn an_open_connection_ends_within_five_seconds_of_a_no() {
    let world = world(vec![yes(), yes(), answer(302, &[("Location", "/login")])]);
    assert_eq!(world.get().await, "ada 3500");
    after(0.9).await;
    assert_eq!(world.open().await, "ada 3500");
    assert_eq!(world.questions(), 1);
    after(3.5).await;
    assert_eq!(world.open().await, "ada 3500");
    after(3.5).await;
    assert_eq!(world.open().await, "302");
    assert_eq!(world.questions(), 3);
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_no() {
    let silence = || (0..30).map(|turn| if turn % 2 == 0 { None } else { answer(503, &[]) });
    let world = world([yes()].into_iter().chain(silence()).collect());
    assert_eq!(world.get().await, "ada 3500");
    after(5.1).await;
    assert_eq!(world.get().await, "silence");
    let mut lived = 5.1;
    while world.open().await == "ada 3500" {
        after(3.5).await;
        lived += 3.5;
    }
    assert!((60.0..=67.0).contains(&lived), "{lived}");
}

#[tokio::test(start_paused = true)]
async fn a_site_that_does_not_answer_in_time_is_silent() {
    let world = world(vec![yes()]);
    world.site.gate.forget_permits(1000);
    assert_eq!(world.get().await, "silence");
}

#[tokio::test(start_paused = true)]
async fn after_a_no_the_last_yes_is_forgotten() {
    let world = world(vec![yes(), answer(403, &[]), None]);
    assert_eq!(world.get().await, "ada 3500");
    after(6.0).await;
    assert_eq!(world.open().await, "403");
    assert_eq!(world.open().await, "silence");
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_put_once() {
    let world = world(vec![yes(), yes()]);
    world.site.gate.forget_permits(1000);
    let ask = |cookie: &'static str| {
        let authority = world.authority.clone();
        tokio::spawn(async move {
            let head = head("GET", &[("Cookie", cookie)]);
            let asked = Asked { head: &head, client: &client(), owner: "ada", is_open: false };
            matches!(authority.ask(asked).await, Word::Yes(_))
        })
    };
    let tasks: Vec<_> = (0..50).map(|_| ask("a=1")).chain([ask("a=2")]).collect();
    // Every task runs up to where it waits.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.questions(), 2);
    world.site.gate.add_permits(2);
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(world.questions(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_asks_may_go_away() {
    let world = world(vec![yes()]);
    world.site.gate.forget_permits(1000);
    let ask = || {
        let authority = world.authority.clone();
        async move {
            let head = head("GET", &[]);
            let asked = Asked { head: &head, client: &client(), owner: "ada", is_open: false };
            matches!(authority.ask(asked).await, Word::Yes(_))
        }
    };
    let first = tokio::spawn(ask());
    tokio::task::yield_now().await;
    let second = tokio::spawn(ask());
    tokio::task::yield_now().await;
    assert_eq!(world.questions(), 1);
    first.abort();
    world.site.gate.add_permits(1);
    assert!(second.await.unwrap());
    assert_eq!(world.questions(), 2);
}

async fn check_apart(a: &[(&str, &str)], b: &[(&str, &str)], vary: &str, expected: usize) {
    let varied = || answer(200, &[("Perijove-User", "ada"), ("Vary", vary)]);
    let world = world(vec![varied(), varied(), varied()]);
    // The first answer tells what the later ones vary with.
    world.ask(&head("GET", &[("Cookie", "teach")]), false).await;
    world.ask(&head("GET", a), false).await;
    world.ask(&head("GET", b), false).await;
    assert_eq!(world.questions() - 1, expected, "{a:?} {b:?} {vary}");
}

#[tokio::test(start_paused = true)]
async fn a_yes_is_for_whom_it_was_said() {
    check_apart(&[("Cookie", "a=1")], &[("Cookie", "a=1")], "", 1).await;
    check_apart(&[("Cookie", "a=1")], &[("Cookie", "a=2")], "", 2).await;
    check_apart(&[("Cookie", "a=1")], &[], "", 2).await;
    check_apart(&[("Cookie", "a=1"), ("Cookie", "b")], &[("Cookie", "a=1")], "", 2).await;
    check_apart(&[("Authorization", "x")], &[("Authorization", "y")], "", 2).await;
    check_apart(&[("Accept-Language", "de")], &[("Accept-Language", "en")], "", 1).await;
    check_apart(&[("Accept-Language", "de")], &[("Accept-Language", "en")], "Accept-Language", 2)
        .await;
    check_apart(&[("Accept-Encoding", "br")], &[("Accept-Encoding", "gzip")], "accept-encoding", 1)
        .await;
    check_apart(&[], &[], "*", 2).await;
}

#[tokio::test(start_paused = true)]
async fn fields_that_name_somebody_are_not_left_to_vary() {
    for name in ["X-Api-Key", "X-Remote-User", "Cf-Access-Jwt-Assertion", "X-SSL-Client-S-DN"] {
        check_apart(&[(name, "ada")], &[(name, "bob")], "", 2).await;
        check_apart(&[(name, "ada")], &[], "", 2).await;
    }
    for name in ["User-Agent", "Sec-Fetch-User", "Traceparent", "X-Requested-With"] {
        check_apart(&[(name, "1")], &[(name, "2")], "", 1).await;
    }
}

/// What two requests are told that are put while neither has an answer, and how many questions that
/// took.
async fn at_once(answers: Vec<Option<Answer>>, a: &str, b: &str) -> (Vec<String>, usize) {
    let world = world(answers);
    world.site.gate.forget_permits(1000);
    let ask = |key: &str| {
        let (authority, key) = (world.authority.clone(), key.to_owned());
        tokio::spawn(async move {
            let head = head("GET", &[("X-Key", &key)]);
            let asked = Asked { head: &head, client: &client(), owner: "ada", is_open: false };
            match authority.ask(asked).await {
                Word::Yes(yes) => yes.user.name().to_owned(),
                Word::No(no) => String::from_utf8_lossy(no.fields.as_bytes()).into_owned(),
                Word::Nobody | Word::Silence => "nothing".to_owned(),
            }
        })
    };
    let tasks = [ask(a), ask(b)];
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    world.site.gate.add_permits(1000);
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.unwrap());
    }
    (told, world.questions())
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_varies_is_not_shared_with_who_differs() {
    let varied = |user| answer(200, &[("Perijove-User", user), ("Vary", "X-Key")]);
    let apart = at_once(vec![varied("ada"), varied("bob")], "of-ada", "of-bob").await;
    assert_eq!(apart, (vec!["ada".to_owned(), "bob".to_owned()], 2));
    // Nobody knows beforehand what the first answer varies with.
    let star = || answer(200, &[("Perijove-User", "ada"), ("Vary", "*")]);
    assert_eq!(at_once(vec![star(), star()], "same", "same").await.1, 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_no_begins_is_nobody_elses() {
    let begun = |id| answer(302, &[("Location", "/login"), ("Set-Cookie", id)]);
    let (told, questions) = at_once(vec![begun("s=1"), begun("s=2")], "", "").await;
    assert!(told[0].contains("s=1") && told[1].contains("s=2"), "{told:?}");
    assert_eq!(questions, 2);
    let plain = || answer(302, &[("Location", "/login")]);
    assert_eq!(at_once(vec![plain(), plain()], "", "").await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_is_kept_for_four_seconds_ends_after_four_seconds() {
    let world = world(vec![kept_for(4), answer(403, &[])]);
    assert_eq!(world.get().await, "ada 4000");
    after(3.9).await;
    // Asked again with what is left, not with a second more.
    assert_eq!(world.open().await, "ada 100");
    after(0.1).await;
    assert_eq!(world.open().await, "403");
}
