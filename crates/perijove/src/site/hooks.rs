//! A guard that asks the site's own functions in Python: may this address come, is this the password
//! of that user, and is the user of the group.
//!
//! They run in a worker of their own (`python/perijove/access.py`). Without an answer nobody passes.

use std::{pin::Pin, sync::Arc, time::Duration};

use perijove_gateway::{Body, Denial, Guard, Head, Pass, Question, Upstreams, Verdict, ask};
use serde::Deserialize;

mod credentials;
mod kept;

use crate::config::plan::{AllowPlan, AuthPlan};
use credentials::user_of;
use kept::Answer;
pub(super) use kept::Kept;

/// How long the functions may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Open connections are not asked about more often.
const OFTEN: Duration = Duration::from_secs(1);

/// What is asked on a route.
#[derive(Debug)]
pub(super) struct Hooks {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) auth: Option<AuthPlan>,
    pub(super) allow: Option<AllowPlan>,
    pub(super) kept: Arc<Kept>,
}

/// Who asks, and with what.
#[derive(Clone, Copy)]
struct Asker<'a> {
    question: Question<'a>,
    authorization: &'a [u8],
    /// Whom this signs in, where somebody must.
    user: Option<&'a str>,
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
        // Where there are several, it is not known which of them is meant.
        let mut all = question.head.get_all("authorization");
        let authorization = all.next().filter(|_| all.next().is_none()).unwrap_or_default();
        let user = user_of(authorization).filter(|_| self.auth.is_some());
        let asker = Asker { question, authorization, user: user.as_deref() };
        match self.answer(asker).await {
            None => unavailable(),
            Some(Answer::Welcome) if self.auth.is_some() == user.is_some() => self.pass(user),
            Some(Answer::Welcome) => self.refuse(Answer::Unknown),
            Some(answer) => self.refuse(answer),
        }
    }

    fn pass(&self, user: Option<String>) -> Verdict {
        let auth = self.auth.as_ref().map(|auth| auth.keep_time);
        let allow = self.allow.as_ref().map(|allow| allow.keep_time);
        let ask_again = auth.into_iter().chain(allow).min().map(|time| time.max(OFTEN));
        let subject = user.as_deref().map(Into::into);
        let proven = user.map_or_else(Vec::new, |user| {
            vec![
                ("X-Forwarded-User".to_owned(), user),
                ("X-Forwarded-Auth-Type".to_owned(), "Basic".to_owned()),
            ]
        });
        Verdict::Pass(Pass { subject, proven, ask_again, ..Pass::default() })
    }

    /// What the functions say, now or a moment ago; the address comes first. `None` when there is no
    /// answer.
    async fn answer(&self, asker: Asker<'_>) -> Option<Answer> {
        let Asker { question, authorization, user } = asker;
        let of_request = self.allow.as_ref().map(|_| self.kept.of_request(question));
        let of_user = user.map(|_| self.kept.of_user(question, authorization));
        let mut allowed = of_request.map_or(Some(Answer::Welcome), |key| self.kept.get(&key));
        let mut known = of_user.map_or(Some(Answer::Welcome), |key| self.kept.get(&key));
        if allowed.is_none() || (known.is_none() && allowed == Some(Answer::Welcome)) {
            let asked = self.asked(allowed.is_none(), known.is_none());
            let told = self.ask(asker, &asked).await?;
            if let (None, Some(key), Some(allow)) = (allowed, of_request, &self.allow) {
                let banned = told.allow == Some(false);
                let answer = if banned { Answer::Banned } else { Answer::Welcome };
                self.kept.put(key, answer, allow.keep_time);
                allowed = Some(answer);
            }
            if let (None, Some(key), Some(auth), Some(Answer::Welcome)) =
                (known, of_user, &self.auth, allowed)
            {
                let answer = of_group(&told, auth);
                self.kept.put(key, answer, auth.keep_time);
                known = Some(answer);
            }
        }
        match allowed? {
            Answer::Welcome => known,
            banned => Some(banned),
        }
    }

    /// The words for what is to be asked.
    fn asked(&self, is_allow: bool, is_user: bool) -> String {
        let has_group = self.auth.as_ref().is_some_and(|auth| auth.group.is_some());
        let words = [("allow", is_allow), ("password", is_user), ("groups", is_user && has_group)];
        let words: Vec<&str> =
            words.into_iter().filter_map(|(word, is_asked)| is_asked.then_some(word)).collect();
        words.join(" ")
    }

    async fn ask(&self, asker: Asker<'_>, asked: &str) -> Option<Told> {
        let Question { head, client, .. } = asker.question;
        let mut fields: Vec<(&[u8], &[u8])> = head.fields().collect();
        // An answer to HEAD would have no body: the function is told the method beside.
        let asked = format!("{} {asked}", head.method());
        fields.push((b"Perijove-Ask", asked.as_bytes()));
        let head = Head::from_parts("GET", head.target(), &fields).ok()?;
        let answer = ask(&self.upstreams, head, client, WITHIN).await?;
        let Body::Full(body) = answer.body else { return None };
        if answer.status != 200 {
            tracing::error!(request_id = &*client.request_id, "who may pass could not be decided");
            return None;
        }
        let told: Told = serde_json::from_slice(&body).ok()?;
        let is_same = told.password.is_none() || told.user.as_deref() == asker.user;
        is_same.then_some(told)
    }

    fn refuse(&self, answer: Answer) -> Verdict {
        let (status, what) = match answer {
            Answer::Unknown => (401, "sign in to come here"),
            Answer::Outside => (403, "this is not for you"),
            Answer::Banned | Answer::Welcome => (403, "this address may not come here"),
        };
        let mut denial = Denial::new(status, what);
        if let Some(auth) = self.auth.as_ref().filter(|_| status == 401) {
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
            denial.fields.push(("WWW-Authenticate", challenge));
        }
        Verdict::Deny(Box::new(denial))
    }
}

/// What is said of a user.
fn of_group(told: &Told, auth: &AuthPlan) -> Answer {
    if told.password != Some(true) {
        return Answer::Unknown;
    }
    match &auth.group {
        Some(group) if !told.groups.contains(group) => Answer::Outside,
        _ => Answer::Welcome,
    }
}

fn unavailable() -> Verdict {
    let what = "who may come here cannot be decided now";
    let retry_after = Some(Duration::from_secs(5));
    Verdict::Deny(Box::new(Denial { retry_after, ..Denial::new(503, what) }))
}
