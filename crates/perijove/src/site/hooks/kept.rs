//! What the site's functions said a moment ago.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use perijove_gateway::Question;
use sha2::{Digest as _, Sha256};

/// Answers that are remembered; when there are more, all are forgotten.
const MOST: usize = 10_000;

/// What is remembered, by all that the function could see. Passwords are not in it: the keys are
/// digests.
#[derive(Debug)]
pub(in crate::site) struct Kept {
    /// So that a digest tells nothing outside of this process.
    salt: [u8; 32],
    /// Held for moments.
    answers: Mutex<HashMap<Key, (Instant, Answer)>>,
}

/// What the functions said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Welcome,
    /// The address may not come.
    Banned,
    /// This is not the password, or nobody knows the user.
    Unknown,
    /// The user is not of the group.
    Outside,
}

/// A question that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Kept {
    pub(in crate::site) fn new() -> Self {
        let mut salt = [0; 32];
        // Without randomness the salt is one that nobody else has tables for.
        if getrandom::fill(&mut salt).is_err() {
            salt = Sha256::digest(std::process::id().to_le_bytes()).into();
        }
        Self { salt, answers: Mutex::default() }
    }

    /// Whether an address may come: the function is shown the whole request.
    pub(super) fn of_request(&self, question: Question<'_>) -> Key {
        let head = question.head;
        let mut digest = self.begin("request", question);
        add(&mut digest, head.method().as_bytes());
        add(&mut digest, head.target());
        for (name, value) in head.fields() {
            add(&mut digest, name);
            add(&mut digest, value);
        }
        for (name, value) in question.client.proven.iter().flat_map(|proven| &proven.fields) {
            add(&mut digest, name.as_bytes());
            add(&mut digest, value.as_bytes());
        }
        Key(digest.finalize().into())
    }

    /// Whether this is somebody's password: the functions are shown who asks, and not for what.
    pub(super) fn of_user(&self, question: Question<'_>, authorization: &[u8]) -> Key {
        let mut digest = self.begin("user", question);
        add(&mut digest, authorization);
        Key(digest.finalize().into())
    }

    fn begin(&self, kind: &str, question: Question<'_>) -> Sha256 {
        let client = question.client;
        let address = client.address.map(|address| address.ip().to_canonical());
        let mut digest = Sha256::new();
        digest.update(self.salt);
        add(&mut digest, kind.as_bytes());
        add(&mut digest, format!("{address:?}").as_bytes());
        add(&mut digest, client.scheme.as_str().as_bytes());
        add(&mut digest, client.host.as_bytes());
        digest
    }

    pub(super) fn get(&self, key: &Key) -> Option<Answer> {
        let answers = self.lock();
        let (until, answer) = answers.get(key)?;
        (Instant::now() < *until).then_some(*answer)
    }

    /// A wrong password is not remembered: whoever knows it next may come.
    pub(super) fn put(&self, key: Key, answer: Answer, time: Duration) {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Instant, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a question. Its length goes first, so that no part can pass for a piece of the next.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

#[cfg(test)]
mod tests {
    use perijove_gateway::{Client, Head, Scheme};

    use super::*;

    fn client(address: &str, host: &str) -> Client {
        Client {
            address: Some(format!("{address}:1").parse().unwrap()),
            scheme: Scheme::Https,
            host: host.into(),
            port: 443,
            peer: None,
            request_id: "1".into(),
            trace: None,
            proven: None,
        }
    }

    fn head(method: &str, target: &str, field: &str) -> Head {
        let fields: [(&[u8], &[u8]); 2] = [(b"Host", b"h"), (b"Cookie", field.as_bytes())];
        Head::from_parts(method, target.as_bytes(), &fields).unwrap()
    }

    /// Whether both questions have one answer: of the request, and of the user.
    fn check(one: (&Head, &Client, &str), other: (&Head, &Client, &str), expected: (bool, bool)) {
        let kept = Kept::new();
        let keys = |(head, client, authorization): (&Head, &Client, &str)| {
            let question = Question { head, client, is_open: false };
            (kept.of_request(question), kept.of_user(question, authorization.as_bytes()))
        };
        let ((request, user), (other_request, other_user)) = (keys(one), keys(other));
        assert_eq!((request == other_request, user == other_user), expected, "{one:?} {other:?}");
    }

    #[test]
    fn what_a_function_can_tell_apart_has_answers_of_its_own() {
        let home = client("192.0.2.1", "h");
        let page = head("GET", "/a", "x=1");
        let same = (&page, &home, "Basic YTpi");
        check(same, same, (true, true));
        check(same, (&page, &home, "Basic YTpj"), (true, false));
        check(same, (&head("POST", "/a", "x=1"), &home, same.2), (false, true));
        check(same, (&head("GET", "/b", "x=1"), &home, same.2), (false, true));
        check(same, (&head("GET", "/a?x", "x=1"), &home, same.2), (false, true));
        check(same, (&head("GET", "/a", "x=2"), &home, same.2), (false, true));
        check(same, (&page, &client("192.0.2.2", "h"), same.2), (false, false));
        check(same, (&page, &client("192.0.2.1", "other"), same.2), (false, false));
        let plain = Client { scheme: Scheme::Http, ..home.clone() };
        check(same, (&page, &plain, same.2), (false, false));
        let mapped = client("[::ffff:192.0.2.1]", "h");
        check(same, (&page, &mapped, same.2), (true, true));
    }

    #[test]
    fn answers_end_and_are_bounded() {
        let kept = Kept::new();
        let home = client("192.0.2.1", "h");
        let key = |at: usize| {
            let head = head("GET", &format!("/{at}"), "");
            kept.of_request(Question { head: &head, client: &home, is_open: false })
        };
        kept.put(key(0), Answer::Welcome, Duration::from_nanos(1));
        std::thread::yield_now();
        assert_eq!(kept.get(&key(0)), None);
        kept.put(key(0), Answer::Unknown, Duration::from_secs(60));
        assert_eq!(kept.get(&key(0)), None);
        kept.put(key(0), Answer::Banned, Duration::from_secs(60));
        assert_eq!(kept.get(&key(0)), Some(Answer::Banned));
        for at in 0..MOST + 10 {
            kept.put(key(at), Answer::Welcome, Duration::from_secs(60));
        }
        assert!(kept.lock().len() <= MOST);
    }
}
