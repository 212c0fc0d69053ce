//! A guard that asks the site's own functions in Python: may this address come, is this the password
//! of that user, and is the user of the group.
//!
//! They run in a worker of their own (`python/perijove/access.py`). Without an answer nobody passes.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use perijove_gateway::{
    Body, FieldBlock, Guard, Head, Pass, Question, Response, Upstreams, Verdict, ask,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

mod credentials;

use crate::config::plan::{AllowPlan, AuthPlan};
use credentials::user_of;

/// How long the functions may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Answers that are remembered; when there are more, all are forgotten.
const MOST: usize = 10_000;

/// What is asked on a route.
#[derive(Debug)]
pub(super) struct Hooks {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) auth: Option<AuthPlan>,
    pub(super) allow: Option<AllowPlan>,
    pub(super) kept: Arc<Kept>,
}

/// What was answered a moment ago. Passwords are not in it: the keys are digests.
#[derive(Debug)]
pub(super) struct Kept {
    /// So that a digest tells nothing outside of this process.
    salt: [u8; 32],
    /// Held for moments.
    answers: Mutex<HashMap<[u8; 32], (Instant, Answer)>>,
}

/// What the functions said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Welcome,
    /// The address may not come.
    Banned,
    /// This is not the password, or nobody knows the user.
    Unknown,
    /// The user is not of the group.
    Outside,
}

/// The answer as it comes.
#[derive(Debug, Deserialize)]
struct Told {
    allow: Option<bool>,
    password: Option<bool>,
    /// Whose password was asked for.
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

impl Kept {
    pub(super) fn new() -> Self {
        let mut salt = [0; 32];
        // Without randomness the salt is one that nobody else has tables for.
        if getrandom::fill(&mut salt).is_err() {
            salt = Sha256::digest(std::process::id().to_le_bytes()).into();
        }
        Self { salt, answers: Mutex::default() }
    }

    /// A password is one's own everywhere. Who may come may depend on the path: the function is
    /// shown the request.
    fn key(&self, question: Question<'_>, authorization: &[u8], asked: &str) -> [u8; 32] {
        let Question { head, client, .. } = question;
        let address = client.address.map(|address| address.ip());
        let mut digest = Sha256::new();
        digest.update(self.salt);
        // No part but the last can hold a line's end.
        digest.update(format!("{asked}\n{address:?}\n"));
        if asked.contains("allow") {
            digest.update(format!("{}\n{}\n", client.host, head.method()));
            digest.update(head.path());
            digest.update(b"\n");
        }
        digest.update(authorization);
        digest.finalize().into()
    }

    fn get(&self, key: &[u8; 32]) -> Option<Answer> {
        let answers = self.lock();
        let (until, answer) = answers.get(key)?;
        (Instant::now() < *until).then_some(*answer)
    }

    /// A wrong password is not remembered: whoever knows it next may come.
    fn put(&self, key: [u8; 32], answer: Answer, time: Duration) {
        if answer == Answer::Unknown || time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.lock();
        if answers.len() >= MOST {
            answers.retain(|_, (until, _)| now < *until);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(key, (now + time, answer));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Instant, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard for Hooks {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.judge(question))
    }
}

impl Hooks {
    async fn judge(&self, question: Question<'_>) -> Verdict {
        let Question { head, client, .. } = question;
        // Where there are several, it is not known which of them is meant.
        let mut all = head.get_all("authorization");
        let authorization = all.next().filter(|_| all.next().is_none()).unwrap_or_default();
        let user = user_of(authorization).filter(|_| self.auth.is_some());
        if self.auth.is_some() && user.is_none() && self.allow.is_none() {
            return self.refuse(Answer::Unknown);
        }
        let asked = self.asked(user.is_some());
        let answer = if asked.is_empty() {
            Answer::Welcome
        } else {
            match self.ask(question, &asked, (authorization, user.as_deref())).await {
                Some(answer) => answer,
                None => return unavailable(),
            }
        };
        match (answer, &self.auth, user) {
            (Answer::Welcome, None, _) => Verdict::Pass(Pass::default()),
            (Answer::Welcome, Some(auth), Some(user)) => {
                tracing::debug!(request_id = &*client.request_id, "signed in");
                Verdict::Pass(Pass {
                    subject: Some(user.as_str().into()),
                    proven: vec![
                        ("X-Forwarded-User".to_owned(), user),
                        ("X-Forwarded-Auth-Type".to_owned(), "Basic".to_owned()),
                    ],
                    ask_again: Some(auth.keep_time.max(Duration::from_secs(1))),
                    ..Pass::default()
                })
            }
            (Answer::Welcome, Some(_), None) => self.refuse(Answer::Unknown),
            (answer, ..) => self.refuse(answer),
        }
    }

    /// The words for what is to be asked.
    fn asked(&self, has_user: bool) -> String {
        let mut asked = Vec::new();
        if self.allow.is_some() {
            asked.push("allow");
        }
        if let Some(auth) = self.auth.as_ref().filter(|_| has_user) {
            asked.push("password");
            if auth.group.is_some() {
                asked.push("groups");
            }
        }
        asked.join(" ")
    }

    /// `None` when there is no answer.
    async fn ask(
        &self,
        question: Question<'_>,
        asked: &str,
        (authorization, user): (&[u8], Option<&str>),
    ) -> Option<Answer> {
        let Question { head, client, .. } = question;
        let shown: &[u8] = if asked.contains("password") { authorization } else { b"" };
        let key = self.kept.key(question, shown, asked);
        if let Some(answer) = self.kept.get(&key) {
            return Some(answer);
        }
        let mut fields: Vec<(&[u8], &[u8])> = head.fields().collect();
        fields.push((b"Perijove-Ask", asked.as_bytes()));
        let head = Head::from_parts("GET", head.target(), &fields).ok()?;
        let answer = ask(&self.upstreams, head, client, WITHIN).await?;
        let Body::Full(body) = answer.body else { return None };
        if answer.status != 200 {
            tracing::error!(request_id = &*client.request_id, "who may pass could not be decided");
            return None;
        }
        let told: Told = serde_json::from_slice(&body).ok()?;
        if told.password.is_some() && told.user.as_deref() != user {
            return None;
        }
        let answer = self.read(&told, asked);
        self.kept.put(key, answer, self.keep_time());
        Some(answer)
    }

    fn read(&self, told: &Told, asked: &str) -> Answer {
        if told.allow == Some(false) {
            return Answer::Banned;
        }
        if !asked.contains("password") {
            return Answer::Welcome;
        }
        if told.password != Some(true) {
            return Answer::Unknown;
        }
        match self.auth.as_ref().and_then(|auth| auth.group.as_ref()) {
            Some(group) if !told.groups.contains(group) => Answer::Outside,
            _ => Answer::Welcome,
        }
    }

    fn keep_time(&self) -> Duration {
        let auth = self.auth.as_ref().map(|auth| auth.keep_time);
        let allow = self.allow.as_ref().map(|allow| allow.keep_time);
        auth.into_iter().chain(allow).min().unwrap_or_default()
    }

    fn refuse(&self, answer: Answer) -> Verdict {
        let (status, text) = match answer {
            Answer::Unknown => (401, "sign in to come here\n"),
            Answer::Outside => (403, "this is not for you\n"),
            Answer::Banned | Answer::Welcome => (403, "this address may not come here\n"),
        };
        let mut refusal = Response::new(status, "text/plain; charset=utf-8", text);
        if let Some(auth) = self.auth.as_ref().filter(|_| status == 401) {
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
            refusal.fields.push("WWW-Authenticate", &challenge);
        }
        refusal.fields.push("Cache-Control", "no-store");
        Verdict::Refuse(Box::new(refusal))
    }
}

fn unavailable() -> Verdict {
    let mut fields = FieldBlock::new();
    fields.push("Content-Type", "text/plain; charset=utf-8");
    fields.push("Retry-After", "5");
    fields.push("Cache-Control", "no-store");
    let body = Body::Full("who may come here cannot be decided now\n".into());
    Verdict::Refuse(Box::new(Response { status: 503, fields, body }))
}
