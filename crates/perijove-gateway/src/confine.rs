//! Keeps the answers of a target from acting on the origin it shares with others.

use std::{collections::BTreeSet, fmt, sync::Arc};

use arc_swap::ArcSwap;

/// Names of cookies one side remembers; a site has a handful.
const MOST_NAMES: usize = 512;

/// Fields that speak for a whole origin, in lower case.
const WHOLE_ORIGIN: [&[u8]; 7] = [
    b"alt-svc",
    b"clear-site-data",
    b"nel",
    b"report-to",
    b"service-worker-allowed",
    b"set-login",
    b"strict-transport-security",
];

/// Keeps the answers of a target from acting on the origin it shares with others: its cookies are
/// confined to a path, and fields that speak for the whole origin are dropped.
#[derive(Debug)]
pub struct Confinement {
    /// The path below which cookies are kept, with a slash at its end.
    path: String,
    /// What this target has set; only these go back to it.
    own: CookieNames,
    /// What the rest of the origin has set; never taken over, and never sent to this target.
    others: Vec<Arc<CookieNames>>,
}

/// The names of the cookies that one party of an origin has set, as far as they were seen.
#[derive(Default)]
pub struct CookieNames {
    names: ArcSwap<BTreeSet<Box<[u8]>>>,
}

impl Confinement {
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), own: CookieNames::default(), others: Vec::new() }
    }

    /// Names another party of the same origin, whose cookies are not to be touched.
    #[must_use]
    pub fn beside(mut self, names: Arc<CookieNames>) -> Self {
        self.others.push(names);
        self
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Of a Cookie field's value, what this target has set itself; `None` when that is nothing.
    pub(crate) fn cookies(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::new();
        for cookie in value.split(|b| *b == b';').map(<[u8]>::trim_ascii) {
            let (name, _) = split_pair(cookie);
            if self.own.contains(name) && !self.belongs_to_others(name) {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(cookie);
            }
        }
        (!kept.is_empty()).then_some(kept)
    }

    /// The value of a Set-Cookie field with its path forced below that of the confinement; `None`
    /// when the cookie must not be set.
    pub(crate) fn set_cookie(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut parts = value.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let cookie = parts.next()?;
        let name = cookie_name(cookie)?;
        if self.belongs_to_others(name) || name.get(..7).is_some_and(is_host_prefix) {
            return None;
        }
        let mut path = self.path.as_bytes();
        let mut confined = cookie.to_vec();
        for attribute in parts {
            let (name, value) = split_pair(attribute);
            if name.eq_ignore_ascii_case(b"domain") {
                return None;
            } else if name.eq_ignore_ascii_case(b"path") {
                // Of several, browsers take the last.
                path = if self.holds(value) { value } else { self.path.as_bytes() };
            } else if !attribute.is_empty() {
                confined.extend_from_slice(b"; ");
                confined.extend_from_slice(attribute);
            }
        }
        confined.extend_from_slice(b"; Path=");
        confined.extend_from_slice(path);
        self.own.record(name).then_some(confined)
    }

    /// Whether a field of an answer speaks for the whole origin.
    pub(crate) fn drops(name: &[u8]) -> bool {
        WHOLE_ORIGIN.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    fn holds(&self, path: &[u8]) -> bool {
        path.starts_with(self.path.as_bytes())
    }

    fn belongs_to_others(&self, name: &[u8]) -> bool {
        self.others.iter().any(|names| names.contains(name))
    }
}

impl CookieNames {
    /// Notes a name; false when there is no room for another one.
    pub fn record(&self, name: &[u8]) -> bool {
        let known = self.names.load();
        if known.contains(name) {
            return true;
        }
        if known.len() >= MOST_NAMES {
            return false;
        }
        self.names.rcu(|names| {
            let mut names = BTreeSet::clone(names);
            names.insert(name.into());
            names
        });
        true
    }

    /// All names that were noted; the same allocation as long as there is no new one.
    pub fn all(&self) -> Arc<BTreeSet<Box<[u8]>>> {
        self.names.load_full()
    }

    /// Notes the name in the value of a Set-Cookie field.
    pub(crate) fn record_set_cookie(&self, value: &[u8]) {
        let cookie = value.split(|b| *b == b';').next().unwrap_or_default();
        if let Some(name) = cookie_name(cookie.trim_ascii()) {
            self.record(name);
        }
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.names.load().contains(name)
    }
}

impl fmt::Debug for CookieNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.load();
        f.debug_set().entries(names.iter().map(|name| String::from_utf8_lossy(name))).finish()
    }
}

/// The name of `name=value`, if it is a token. A cookie without a name would be sent back as its
/// bare value, which may look like another cookie.
fn cookie_name(cookie: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b'=', cookie)?;
    let name = cookie.get(..at)?.trim_ascii_end();
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    (!name.is_empty() && name.iter().all(is_token)).then_some(name)
}

/// `__Host-` asks for the path `/`, which a confined cookie cannot have.
fn is_host_prefix(start: &[u8]) -> bool {
    start.eq_ignore_ascii_case(b"__Host-")
}

/// Name and value around the first `=`, without white space.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let (name, value) = match memchr::memchr(b'=', pair) {
        Some(at) => (pair.get(..at), pair.get(at + 1..)),
        None => (Some(pair), None),
    };
    (name.unwrap_or_default().trim_ascii(), value.unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::{Confinement, CookieNames};
    use std::sync::Arc;

    fn confinement() -> Confinement {
        let others = Arc::new(CookieNames::default());
        others.record_set_cookie(b"session=1; Path=/");
        Confinement::new("/in/ada/").beside(others)
    }

    fn check_set(value: &str, expected: Option<&str>) {
        let confined = confinement().set_cookie(value.as_bytes());
        assert_eq!(confined.map(|c| String::from_utf8(c).unwrap()).as_deref(), expected, "{value}");
    }

    #[test]
    fn cookies_are_set_below_the_path_only() {
        check_set("a=1", Some("a=1; Path=/in/ada/"));
        check_set("a=1; Path=/", Some("a=1; Path=/in/ada/"));
        check_set("a=1; path = /in/ada/lab ; HttpOnly", Some("a=1; HttpOnly; Path=/in/ada/lab"));
        check_set("a=1; Path=/in/ada/x; Path=/", Some("a=1; Path=/in/ada/"));
        check_set("a=1;Path=/in/ada", Some("a=1; Path=/in/ada/"));
        check_set("a=1;Path=/in/adam/", Some("a=1; Path=/in/ada/"));
        check_set(
            "a=\"b=c\"; Max-Age=5; ;Secure",
            Some("a=\"b=c\"; Max-Age=5; Secure; Path=/in/ada/"),
        );
    }

    #[test]
    fn cookies_that_reach_further_are_refused() {
        check_set("a=1; Domain=example.com", None);
        check_set("a=1; DOMAIN", None);
        check_set("session=2", None);
        check_set("session =2", None);
        check_set("=session=2", None);
        check_set("session", None);
        check_set("", None);
        check_set("a b=1", None);
        check_set("__host-a=1; Path=/; Secure", None);
        check_set("__Secure-a=1; Secure", Some("__Secure-a=1; Secure; Path=/in/ada/"));
    }

    #[test]
    fn only_what_the_target_set_goes_back() {
        let confinement = confinement();
        let sent = b"session=s; _xsrf=1;b=2; _xsrf ; c=";
        assert_eq!(confinement.cookies(sent), None);
        confinement.set_cookie(b"_xsrf=0").unwrap();
        confinement.set_cookie(b"c=0").unwrap();
        assert_eq!(confinement.cookies(sent).unwrap(), b"_xsrf=1; _xsrf; c=");
        assert_eq!(confinement.cookies(b"b=2"), None);
    }

    #[test]
    fn a_name_that_the_rest_of_the_origin_sets_later_is_theirs() {
        let others = Arc::new(CookieNames::default());
        let confinement = Confinement::new("/in/ada/").beside(others.clone());
        confinement.set_cookie(b"id=1").unwrap();
        assert_eq!(confinement.cookies(b"id=1").unwrap(), b"id=1");
        others.record_set_cookie(b"id=2; HttpOnly");
        assert_eq!(confinement.cookies(b"id=2"), None);
        assert_eq!(confinement.set_cookie(b"id=3"), None);
    }

    #[test]
    fn names_are_remembered_up_to_a_limit() {
        let confinement = confinement();
        for number in 0..super::MOST_NAMES {
            confinement.set_cookie(format!("n{number}=1").as_bytes()).unwrap();
        }
        assert_eq!(confinement.set_cookie(b"more=1"), None);
        assert!(confinement.set_cookie(b"n0=2").is_some());
    }

    #[test]
    fn fields_for_the_whole_origin_are_known() {
        assert!(Confinement::drops(b"Clear-Site-Data"));
        assert!(Confinement::drops(b"ALT-SVC"));
        assert!(!Confinement::drops(b"Content-Type"));
    }
}
