//! What a visit on the domain of notebooks rests on: with these fields somebody was let in at the
//! site's own address. The browser sends them there only, so the hub says them for it.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use perijove_gateway::{Client, FieldBlock, Head, Scheme};
use serde::{Deserialize, Serialize};

use crate::authority::{Asked, names_somebody};

/// Bytes of the fields; a browser's cookies for one site are mostly far fewer.
const MOST: usize = 16 << 10;

/// The fields by which somebody is known at the site.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vouch {
    is_https: bool,
    /// The site's host as its visitor names it, with its port.
    host: String,
    address: Option<IpAddr>,
    fields: Vec<(String, String)>,
}

/// What a site tells of the visitor for whom it launches.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Visitor {
    /// `https://www.example.com`
    pub(crate) origin: String,
    address: Option<IpAddr>,
    fields: BTreeMap<String, String>,
}

impl Vouch {
    /// Of somebody who has been let in; `None` when there is more than is kept.
    pub(crate) fn of(head: &Head, client: &Client) -> Option<Self> {
        let fields = head.fields().filter(|(name, _)| tells_who(name)).map(|(name, value)| {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
            Some((text(name)?, text(value)?))
        });
        Self {
            is_https: client.scheme == Scheme::Https,
            host: client.host.as_ref().to_owned(),
            address: client.address.map(|address| address.ip()),
            fields: fields.collect::<Option<_>>()?,
        }
        .within_bounds()
    }

    /// As the site tells it; `None` when that is nobody in particular.
    pub(crate) fn told(visitor: Visitor) -> Option<Self> {
        let (scheme, host) = visitor.origin.split_once("://")?;
        let fields = visitor.fields.into_iter().filter(|(name, _)| tells_who(name.as_bytes()));
        let vouch = Self {
            is_https: scheme == "https",
            host: host.trim_end_matches('/').to_ascii_lowercase(),
            address: visitor.address,
            fields: fields.collect(),
        };
        if vouch.fields.is_empty() { None } else { vouch.within_bounds() }
    }

    fn within_bounds(self) -> Option<Self> {
        let bytes: usize = self.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        (bytes <= MOST).then_some(self)
    }

    /// Where the site is.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme().as_str(), self.host)
    }

    /// What is asked on behalf of a visitor: the same as if they had come to the site with it.
    pub(crate) fn speak_for(&self, asked: &Asked<'_>) -> Option<(Head, Client)> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let fields: Vec<_> =
            std::iter::once((&b"Host"[..], self.host.as_bytes())).chain(fields).collect();
        let head = Head::from_parts(asked.head.method(), asked.head.target(), &fields).ok()?;
        let client = Client {
            address: self.address.map(|ip| (ip, 0).into()),
            scheme: self.scheme(),
            host: Arc::from(self.host.as_str()),
            proven: None,
            ..asked.client.clone()
        };
        Some((head, client))
    }

    /// Takes over cookies that the site has set along with its yes; says whether there were any.
    pub(crate) fn learn(&mut self, cookies: &FieldBlock) -> bool {
        let mut has_learnt = false;
        for (_, value) in cookies.iter() {
            let Ok(text) = std::str::from_utf8(value) else { continue };
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let is_gone = parts.any(|part| part.replace(' ', "").eq_ignore_ascii_case("max-age=0"));
            has_learnt |= self.set_cookie(name.trim(), (!is_gone).then_some(value));
        }
        has_learnt
    }

    fn set_cookie(&mut self, name: &str, value: Option<&str>) -> bool {
        let is_cookies = |field: &&mut (String, String)| field.0.eq_ignore_ascii_case("cookie");
        let Some((_, cookies)) = self.fields.iter_mut().find(is_cookies) else { return false };
        let others = cookies.split(';').map(str::trim).filter(|pair| {
            !pair.is_empty() && pair.split('=').next().unwrap_or_default().trim() != name
        });
        let new = value.map(|value| format!("{name}={value}"));
        let all: Vec<&str> = others.chain(new.as_deref()).collect();
        let joined = all.join("; ");
        let is_new = joined != *cookies && joined.len() <= MOST;
        if is_new {
            *cookies = joined;
        }
        is_new
    }

    fn scheme(&self) -> Scheme {
        if self.is_https { Scheme::Https } else { Scheme::Http }
    }
}

impl fmt::Debug for Vouch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vouch").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Whether the site may know somebody by a field of that name.
fn tells_who(name: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    is(b"cookie") || is(b"authorization") || is(b"user-agent") || names_somebody(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client {
            address: Some("192.0.2.7:4000".parse().unwrap()),
            scheme: Scheme::Https,
            host: "www.example.com:8443".into(),
            port: 443,
            peer: None,
            request_id: "1".into(),
            trace: None,
            proven: None,
        }
    }

    fn asked_with(vouch: &Vouch, method: &str, target: &str) -> Vec<String> {
        let fields = [(&b"Host"[..], &b"nb.example.com"[..]), (b"Cookie", b"own=1")];
        let head = Head::from_parts(method, target.as_bytes(), &fields).unwrap();
        let client = Client { host: "nb.example.com".into(), ..client() };
        let asked = Asked { head: &head, client: &client, owner: "ada", is_open: false };
        let (head, client) = vouch.speak_for(&asked).unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let line = format!(
            "{} {} {} {}",
            head.method(),
            text(head.target()),
            client.host,
            client.address.unwrap().ip()
        );
        let fields = head.fields().map(|(name, value)| format!("{}={}", text(name), text(value)));
        std::iter::once(line).chain(fields).collect()
    }

    #[test]
    fn the_site_is_asked_as_if_its_visitor_had_come() {
        let fields: Vec<(&[u8], &[u8])> = vec![
            (b"Host", b"www.example.com:8443"),
            (b"Cookie", b"session=s; other=o"),
            (b"Accept", b"text/html"),
            (b"Authorization", b"Basic x"),
            (b"X-Remote-User", b"ada"),
            (b"Origin", b"https://www.example.com"),
            (b"Sec-Fetch-User", b"?1"),
        ];
        let head = Head::from_parts("GET", b"/notebook/ada/lab", &fields).unwrap();
        let mut vouch = Vouch::of(&head, &client()).unwrap();
        assert_eq!(vouch.origin(), "https://www.example.com:8443");
        let expected = [
            "PUT /notebook/ada/api/contents/x www.example.com:8443 192.0.2.7",
            "Host=www.example.com:8443",
            "Cookie=session=s; other=o",
            "Authorization=Basic x",
            "X-Remote-User=ada",
        ];
        assert_eq!(asked_with(&vouch, "PUT", "/notebook/ada/api/contents/x"), expected);

        let mut cookies = FieldBlock::new();
        cookies.push("Set-Cookie", "session=t; Path=/; HttpOnly");
        cookies.push("Set-Cookie", "other=; Max-Age=0");
        assert!(vouch.learn(&cookies));
        assert!(!vouch.learn(&cookies), "there is nothing new in it");
        assert_eq!(asked_with(&vouch, "GET", "/")[2], "Cookie=session=t");
    }

    #[test]
    fn what_a_site_tells_counts_as_much() {
        let told = |text: &str| Vouch::told(serde_json::from_str(text).unwrap());
        let vouch = told(
            r#"{"origin": "https://WWW.example.com", "address": "192.0.2.9",
                "fields": {"Cookie": "session=s", "Accept": "x"}}"#,
        );
        let expected =
            ["GET / www.example.com 192.0.2.9", "Host=www.example.com", "Cookie=session=s"];
        assert_eq!(asked_with(&vouch.unwrap(), "GET", "/"), expected);
        assert_eq!(told("{}"), None);
        assert_eq!(told(r#"{"origin": "https://www.example.com"}"#), None);
        let long = "x".repeat(MOST + 1);
        assert_eq!(
            told(&format!(r#"{{"origin": "a://b", "fields": {{"Cookie": "{long}"}}}}"#)),
            None
        );
    }
}
