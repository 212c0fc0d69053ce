//! Where a request comes from, as browsers tell: `Origin` and the `Sec-Fetch` fields.

use perijove_gateway::Head;

use crate::origin::Origin;

/// What a request says of its origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetch<'a> {
    is_change: bool,
    is_upgrade: bool,
    /// The origin of the site itself, as this client names it.
    own: Option<Origin>,
    origin: Option<&'a [u8]>,
    site: Option<&'a [u8]>,
    mode: Option<&'a [u8]>,
    destination: Option<&'a [u8]>,
    has_cookie: bool,
    /// Pages of other sites may show what lies here in a frame.
    may_be_framed: bool,
}

impl<'a> Fetch<'a> {
    pub(super) fn read(head: &'a Head, own: Option<Origin>, may_be_framed: bool) -> Self {
        Self {
            is_change: !matches!(head.method(), "GET" | "HEAD"),
            is_upgrade: head.get("upgrade").is_some(),
            own,
            origin: head.get("origin"),
            site: head.get("sec-fetch-site"),
            mode: head.get("sec-fetch-mode"),
            destination: head.get("sec-fetch-dest"),
            has_cookie: head.get("cookie").is_some(),
            may_be_framed,
        }
    }
}

/// Whether a request may be looked at any further.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn judge(fetch: &Fetch<'_>, allowed: &[String]) -> Result<(), &'static str> {
    let origin = fetch.origin.map(Origin::parse);
    let is_listed = |origin: &Origin| allowed.contains(&origin.to_string());
    let is_allowed = match &origin {
        Some(Some(origin)) => Some(origin) == fetch.own.as_ref() || is_listed(origin),
        _ => false,
    };
    if fetch.is_upgrade && !is_allowed {
        return Err("a websocket needs the Origin of this site");
    }
    if fetch.is_change && !is_change_allowed(fetch, origin.is_some(), is_allowed) {
        return Err("a change needs the Origin of this site");
    }
    // A sibling below the same domain is another site, too: it may be anybody's with a name there.
    let is_foreign = matches!(fetch.site, Some(b"cross-site" | b"same-site"));
    if is_foreign && !is_visit(fetch) && !(origin.is_some() && is_allowed) {
        return Err("another site may link here, not load from here");
    }
    Ok(())
}

/// Without an Origin, a browser's own word must stand for it; without that, no cookie may be in
/// use: scripts with an Authorization of their own may go on.
fn is_change_allowed(fetch: &Fetch<'_>, has_origin: bool, is_allowed: bool) -> bool {
    if has_origin {
        return is_allowed;
    }
    match fetch.site {
        Some(site) => site == b"same-origin",
        None => !fetch.has_cookie,
    }
}

/// A person follows a link: the page as a whole is replaced, or what stands in a frame where that may
/// be. Whose frame it is, the browser judges by the answer.
fn is_visit(fetch: &Fetch<'_>) -> bool {
    !fetch.is_change
        && !fetch.is_upgrade
        && fetch.mode == Some(b"navigate")
        && match fetch.destination {
            Some(b"document") => true,
            Some(b"iframe" | b"frame") => fetch.may_be_framed,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Fetch<'static> = Fetch {
        is_change: false,
        is_upgrade: false,
        own: None,
        origin: None,
        site: None,
        mode: None,
        destination: None,
        has_cookie: true,
        may_be_framed: false,
    };
    const POST: Fetch<'static> = Fetch { is_change: true, ..GET };
    const SOCKET: Fetch<'static> = Fetch { is_upgrade: true, ..GET };

    fn check(fetch: Fetch<'_>, expected: bool) {
        let fetch = Fetch { own: Origin::new("https", "site.example"), ..fetch };
        let allowed = ["https://friend.example".to_owned()];
        assert_eq!(judge(&fetch, &allowed).is_ok(), expected, "{fetch:?}");
    }

    fn from<'a>(origin: &'a str, fetch: Fetch<'a>) -> Fetch<'a> {
        Fetch { origin: Some(origin.as_bytes()), ..fetch }
    }

    fn site<'a>(site: &'a str, fetch: Fetch<'a>) -> Fetch<'a> {
        Fetch { site: Some(site.as_bytes()), ..fetch }
    }

    #[test]
    fn websockets_need_an_allowed_origin() {
        check(from("https://site.example", SOCKET), true);
        check(from("https://SITE.example:443", SOCKET), true);
        check(from("https://friend.example", SOCKET), true);
        check(SOCKET, false);
        check(site("same-origin", SOCKET), false);
        check(from("null", SOCKET), false);
        check(from("http://site.example", SOCKET), false);
        check(from("https://site.example:8443", SOCKET), false);
        check(from("https://site.example.evil.example", SOCKET), false);
        check(from("https://evil.example", SOCKET), false);
    }

    #[test]
    fn changes_need_an_allowed_origin_or_a_word_of_the_browser() {
        check(from("https://site.example", POST), true);
        check(from("https://evil.example", POST), false);
        check(from("null", POST), false);
        check(from("https://evil.example", site("same-origin", POST)), false);
        check(site("same-origin", POST), true);
        check(site("same-site", POST), false);
        check(site("none", POST), false);
        check(POST, false);
        check(Fetch { has_cookie: false, ..POST }, true);
        check(site("cross-site", Fetch { has_cookie: false, ..POST }), false);
    }

    #[test]
    fn other_sites_may_link_but_not_load() {
        let visit = Fetch { mode: Some(b"navigate"), destination: Some(b"document"), ..GET };
        let frame = Fetch { destination: Some(b"iframe"), ..visit.clone() };
        let image = Fetch { mode: Some(b"no-cors"), destination: Some(b"image"), ..GET };
        check(GET, true);
        check(site("same-origin", GET), true);
        check(site("none", visit.clone()), true);
        check(site("cross-site", visit.clone()), true);
        check(site("cross-site", frame.clone()), false);
        let framed = Fetch { may_be_framed: true, ..frame };
        check(site("cross-site", framed.clone()), true);
        check(site("cross-site", Fetch { is_change: true, ..framed }), false);
        check(site("cross-site", Fetch { may_be_framed: true, ..image.clone() }), false);
        check(site("cross-site", image), false);
        check(site("cross-site", GET), false);
        check(site("cross-site", Fetch { is_change: true, ..visit.clone() }), false);
        check(site("same-site", GET), false);
        check(site("same-site", Fetch { destination: Some(b"iframe"), ..visit.clone() }), false);
        check(from("https://friend.example", site("same-site", GET)), true);
        check(site("same-site", visit), true);
        check(from("https://friend.example", site("cross-site", POST)), true);
    }
}
