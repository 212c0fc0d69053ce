//! A session in a browser: who somebody was found to be, in a cookie that only this hub can write.

use std::time::Duration;

use perijove_gateway::{Client, Head, Scheme};
use serde::{Deserialize, Serialize};

use crate::{
    seal::{Purpose, Seal},
    user::User,
};

/// How a session of one kind lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) purpose: Purpose,
    /// Ends after this long without use.
    pub(crate) idle: Duration,
    /// Ends after this long, however much it is used.
    pub(crate) whole: Duration,
}

/// What the cookie says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// 128 random bits.
    pub(crate) id: String,
    pub(crate) user: User,
    /// What the user's record said when the session began: a changed one ends it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) mark: String,
    /// Seconds since the Unix epoch.
    pub(crate) began: u64,
    /// Likewise.
    pub(crate) ends: u64,
}

/// Towards whom a cookie is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Towards<'a> {
    pub(crate) client: &'a Client,
    /// The path that the cookie is for by plain HTTP; by HTTPS it is for the host as a whole.
    pub(crate) path: &'a str,
    /// Whether pages of other sites may show what lies here in a frame.
    pub(crate) is_framed: bool,
}

/// By HTTPS a name that browsers accept from this very host only (RFC 6265bis 4.1.3.2).
const SECURE_NAME: &str = "__Host-perijove";
const PLAIN_NAME: &str = "perijove-session";

/// Every name that such a cookie has: no notebook may set it, or is sent it.
pub(crate) const COOKIE_NAMES: [&str; 2] = [SECURE_NAME, PLAIN_NAME];

impl Kind {
    /// The session that a request shows, when it is one of ours and has not run out.
    pub(crate) fn read(
        &self,
        seal: &Seal,
        head: &Head,
        client: &Client,
        now: u64,
    ) -> Option<Session> {
        let name = cookie_name(client.scheme);
        let session: Session = cookies(head)
            .filter(|(known, _)| *known == name.as_bytes())
            .find_map(|(_, value)| seal.unseal(self.purpose, value))?;
        (now < session.ends && session.began <= now.saturating_add(60)).then_some(session)
    }

    /// The session with as long to live as if it was used for the first time now; `None` when that
    /// is not worth a new cookie yet, or no longer possible.
    pub(crate) fn renewed(&self, session: &Session, now: u64) -> Option<Session> {
        let ends = self.end(session.began, now);
        let gained = ends.saturating_sub(session.ends);
        (gained >= self.idle.as_secs() / 8).then(|| Session { ends, ..session.clone() })
    }

    /// When a session ends that is used now.
    pub(crate) fn end(&self, began: u64, now: u64) -> u64 {
        (now + self.idle.as_secs()).min(began + self.whole.as_secs())
    }

    /// The value of `Set-Cookie`.
    pub(crate) fn cookie(
        &self,
        seal: &Seal,
        session: &Session,
        towards: Towards<'_>,
        now: u64,
    ) -> Option<String> {
        let value = seal.seal(self.purpose, session)?;
        Some(set(&value, session.ends.saturating_sub(now), towards))
    }
}

/// The value of `Set-Cookie` that takes the cookie away.
pub(crate) fn no_cookie(towards: Towards<'_>) -> String {
    set("", 0, towards)
}

fn cookie_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Https => SECURE_NAME,
        Scheme::Http => PLAIN_NAME,
    }
}

fn set(value: &str, seconds: u64, towards: Towards<'_>) -> String {
    let name = cookie_name(towards.client.scheme);
    let is_secure = towards.client.scheme == Scheme::Https;
    let (path, secure) = if is_secure { ("/", "; Secure") } else { (towards.path, "") };
    // What is shown in a frame of another site has cookies of its own there, beside those that it
    // has as a page (CHIPS). Browsers take that by HTTPS only.
    let same_site = if towards.is_framed && is_secure { "None; Partitioned" } else { "Lax" };
    format!(
        "{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"
    )
}

fn cookies(head: &Head) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.get_all("cookie").flat_map(|field| field.split(|byte| *byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        purpose: Purpose::Login,
        idle: Duration::from_secs(800),
        whole: Duration::from_secs(2000),
    };

    fn client(scheme: Scheme) -> Client {
        Client {
            address: None,
            scheme,
            host: "h".into(),
            port: 1,
            peer: None,
            request_id: "1".into(),
            trace: None,
            proven: None,
        }
    }

    fn session() -> Session {
        let user = User::new("ada").unwrap();
        Session { id: "1".into(), user, mark: "m".into(), began: 1000, ends: KIND.end(1000, 1000) }
    }

    #[test]
    fn a_session_is_read_until_it_ends() {
        let seal = Seal::random().unwrap();
        let check = |set_for: Scheme, read_by: Scheme, now, expected: bool| {
            let set_for = client(set_for);
            let towards = Towards { client: &set_for, path: "/notebook/", is_framed: false };
            let cookie = KIND.cookie(&seal, &session(), towards, 1000).unwrap();
            let pair = format!("a=1; {}; b", cookie.split(';').next().unwrap());
            let fields = [(&b"Host"[..], &b"h"[..]), (b"Cookie", pair.as_bytes())];
            let head = Head::from_parts("GET", b"/", &fields).unwrap();
            let read = KIND.read(&seal, &head, &client(read_by), now);
            assert_eq!(read, expected.then(session), "{cookie} {now}");
        };
        check(Scheme::Https, Scheme::Https, 1000, true);
        check(Scheme::Http, Scheme::Http, 1799, true);
        check(Scheme::Http, Scheme::Http, 1800, false);
        // Set by plain HTTP, where others may write too.
        check(Scheme::Http, Scheme::Https, 1000, false);
        // From the future: another clock, or another key's owner.
        check(Scheme::Http, Scheme::Http, 900, false);
    }

    #[test]
    fn it_lives_on_with_use_but_not_for_ever() {
        let check = |now, expected: Option<u64>| {
            let renewed = KIND.renewed(&session(), now);
            assert_eq!(renewed.map(|session| session.ends), expected, "{now}");
        };
        check(1000, None);
        check(1099, None);
        check(1100, Some(1900));
        check(2500, Some(3000));
        let last = Session { ends: 3000, ..session() };
        assert_eq!(KIND.renewed(&last, 2999), None);
    }

    #[test]
    fn cookies_are_as_strict_as_they_can_be() {
        let check = |scheme, is_framed, expected: &str| {
            let client = client(scheme);
            let towards = Towards { client: &client, path: "/notebook/", is_framed };
            assert_eq!(set("v", 9, towards), expected);
        };
        let secure = "__Host-perijove=v; Path=/; Max-Age=9; HttpOnly; SameSite=";
        check(Scheme::Https, false, &format!("{secure}Lax; Secure"));
        check(Scheme::Https, true, &format!("{secure}None; Partitioned; Secure"));
        let plain = "perijove-session=v; Path=/notebook/; Max-Age=9; HttpOnly; SameSite=Lax";
        check(Scheme::Http, false, plain);
        check(Scheme::Http, true, plain);
    }
}
