//! What an answer of the site means, and what of it is passed on.

use std::time::Duration;

use bytes::Bytes;
use perijove_gateway::{Body, FieldBlock, Response};

use crate::user::User;

/// The longest time for which a yes is kept, whatever the site says.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The site's answer to a question, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: FieldBlock,
    pub(crate) body: Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `lifetime` is how long the site lets it be kept; `None` when it does not say.
    Yes {
        user: User,
        lifetime: Option<Duration>,
    },
    /// 200, but without a user's name.
    Nobody,
    No,
    /// Nobody is there to answer: a deploy, an overload.
    Silence,
}

impl Answer {
    pub(super) fn meaning(&self) -> Meaning {
        match self.status {
            200 => match self.user() {
                Some(user) => Meaning::Yes { user, lifetime: self.lifetime() },
                None => Meaning::Nobody,
            },
            502..=504 => Meaning::Silence,
            _ => Meaning::No,
        }
    }

    /// The one user that the answer names, percent-encoded; two names are none.
    fn user(&self) -> Option<User> {
        let mut named = self.values("perijove-user");
        let name = named.next()?;
        if named.next().is_some() {
            return None;
        }
        let user = User::from_segment(name).ok();
        if user.is_none() {
            tracing::warn!("the site's `Perijove-User` is no user's name");
        }
        user
    }

    fn lifetime(&self) -> Option<Duration> {
        let mut lifetime = None;
        for value in self.values("cache-control") {
            for part in String::from_utf8_lossy(value).to_ascii_lowercase().split(',') {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                match name.trim() {
                    "no-store" | "no-cache" => return Some(Duration::ZERO),
                    "max-age" => {
                        let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                        lifetime = Some(Duration::from_secs(seconds).min(LONGEST));
                    }
                    _ => {}
                }
            }
        }
        lifetime
    }

    /// The names of fields that the answer varies with, in lower case.
    pub(super) fn varies_with(&self) -> Vec<String> {
        let text = |value| String::from_utf8_lossy(value).to_ascii_lowercase();
        self.values("vary")
            .flat_map(|value| {
                text(value).split(',').map(|n| n.trim().to_owned()).collect::<Vec<_>>()
            })
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The cookies that are set along with a yes.
    pub(super) fn cookies(&self) -> FieldBlock {
        let mut cookies = FieldBlock::new();
        for value in self.values("set-cookie") {
            cookies.push("Set-Cookie", value);
        }
        cookies
    }

    /// Whether it is a no with a cookie in it: a session that begins with one visitor, and must not
    /// be another's, who may have asked in the same words.
    pub(super) fn begins_something(&self) -> bool {
        !matches!(self.meaning(), Meaning::Yes { .. }) && self.values("set-cookie").next().is_some()
    }

    /// A no as the client gets it: what the site says, without what it says to us.
    pub(super) fn pass_on(&self) -> Response {
        let mut fields = self.fields.clone();
        fields.retain(|name, _| !is_between_us(name));
        // A no must not be remembered by anybody on the way for the next who asks.
        if !fields.contains("cache-control") {
            fields.push("Cache-Control", "no-store");
        }
        Response { status: self.status, fields, body: Body::Full(self.body.clone()) }
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

fn is_between_us(name: &[u8]) -> bool {
    let name: Vec<u8> =
        name.iter().map(|b| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect();
    name.starts_with(b"perijove-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, fields: &[(&str, &str)]) -> Answer {
        let mut block = FieldBlock::new();
        for (name, value) in fields {
            block.push(name, value);
        }
        Answer { status, fields: block, body: Bytes::from_static(b"body") }
    }

    fn yes(name: &str, seconds: Option<u64>) -> Meaning {
        let lifetime = seconds.map(Duration::from_secs);
        Meaning::Yes { user: User::new(name).unwrap(), lifetime }
    }

    fn check(status: u16, fields: &[(&str, &str)], expected: Meaning) {
        assert_eq!(answer(status, fields).meaning(), expected, "{status} {fields:?}");
    }

    #[test]
    fn a_yes_is_200_with_a_name() {
        let ada = ("Perijove-User", "ada");
        check(200, &[ada], yes("ada", None));
        check(200, &[("perijove-user", "a%40b%2Ec")], yes("a@b.c", None));
        check(200, &[], Meaning::Nobody);
        check(200, &[("Perijove-User", "")], Meaning::Nobody);
        check(200, &[ada, ("Perijove-User", "bob")], Meaning::Nobody);
        check(200, &[("Perijove-User", "%zz")], Meaning::Nobody);
        check(204, &[ada], Meaning::No);
        check(302, &[ada], Meaning::No);
        check(401, &[], Meaning::No);
        check(403, &[ada], Meaning::No);
        check(500, &[ada], Meaning::No);
        check(502, &[], Meaning::Silence);
        check(503, &[], Meaning::Silence);
        check(504, &[], Meaning::Silence);
    }

    #[test]
    fn the_site_says_how_long_a_yes_is_kept() {
        let check = |cache: &str, expected| {
            check(200, &[("Perijove-User", "ada"), ("Cache-Control", cache)], yes("ada", expected));
        };
        check("max-age=60", Some(60));
        check("private, Max-Age=\"60\"", Some(60));
        check("max-age=x", Some(0));
        check("max-age=60, no-store", Some(0));
        check("no-cache", Some(0));
        check("private", None);
        check("max-age=99999999", Some(86_400));
    }

    #[test]
    fn a_no_is_passed_on_without_what_is_between_us() {
        let no = answer(
            302,
            &[
                ("Location", "/login"),
                ("Set-Cookie", "a=1"),
                ("Perijove-User", "ada"),
                ("Perijove_Other", "x"),
            ],
        );
        let passed = no.pass_on();
        assert_eq!(passed.status, 302);
        assert_eq!(
            passed.fields.as_bytes(),
            b"Location: /login\r\nSet-Cookie: a=1\r\nCache-Control: no-store\r\n"
        );
    }
}
