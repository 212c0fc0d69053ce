//! What a ticket is good for, and what a visit rests on.

use std::sync::Mutex;

use perijove_gateway::{Client, Head, Scheme};

use super::*;

fn plan(folder: &Path, domain: Option<&str>) -> Plan {
    let around = crate::Surroundings {
        is_alone: false,
        has_site: true,
        hosts: Vec::new(),
        base: folder.into(),
        state_folder: folder.into(),
        runtime_folder: "/r".into(),
        python: Some("/p".into()),
        package: "/l".into(),
        guardian: "/g".into(),
    };
    let domain = domain.map(str::to_owned);
    crate::Config { domain, ..Default::default() }.resolve(&around).unwrap()
}

fn sealed(address: &str) -> &str {
    address.split_once("?ticket=").unwrap().1
}

fn user(name: &str) -> User {
    User::new(name).unwrap()
}

fn client(host: &str) -> Client {
    Client {
        address: Some("192.0.2.7:4000".parse().unwrap()),
        scheme: Scheme::Https,
        host: host.into(),
        port: 443,
        peer: None,
        request_id: "1".into(),
        trace: None,
        proven: None,
    }
}

/// What is said to a browser with a cookie.
async fn said(tickets: &Tickets, host: &str, cookie: &str) -> Word {
    let pair = cookie.split(';').next().unwrap();
    let fields = [(&b"Host"[..], host.as_bytes()), (b"Cookie", pair.as_bytes())];
    let head = Head::from_parts("GET", b"/notebook/ada/lab", &fields).unwrap();
    let client = client(host);
    tickets.ask(Asked { head: &head, client: &client, owner: "ada", is_open: false }).await
}

async fn begun(tickets: &Tickets, ticket: Ticket, host: &str) -> Option<String> {
    let head = Head::from_parts("GET", b"/", &[(b"Host", host.as_bytes())]).unwrap();
    let client = client(host);
    let asked = Asked { head: &head, client: &client, owner: "", is_open: false };
    tickets.begin(ticket, &asked).await
}

#[tokio::test]
async fn a_ticket_is_good_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Tickets::open(&plan(folder.path(), None), None).unwrap();
    let tickets = open();
    let ada = user("ada");
    let address = tickets.issue(&ada, "/notebook/ada/lab", None).await.unwrap();
    assert!(address.starts_with("/notebook/-/ticket?ticket="), "{address}");
    let taken = tickets.redeem(sealed(&address), "h").await.unwrap();
    assert_eq!((taken.user, taken.to.as_str()), (ada.clone(), "/notebook/ada/lab"));
    assert_eq!(tickets.redeem(sealed(&address), "h").await, None);
    let again = open();
    assert_eq!(again.redeem(sealed(&address), "h").await, None);
    let other = tickets.issue(&ada, "/notebook/ada/lab", None).await.unwrap();
    assert!(again.redeem(sealed(&other), "h").await.is_some());
}

#[tokio::test]
async fn a_ticket_that_is_old_or_another_hubs_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let tickets = Tickets::open(&plan(folder.path(), None), None).unwrap();
    let ticket = |until: u64| {
        let id = until.to_string();
        Ticket { id, user: user("ada"), to: "/".into(), until, is_vouched: false }
    };
    let now = clock::now();
    for (until, is_good) in [(now + 30, true), (now, false), (now - 1, false)] {
        let sealed = tickets.seal.seal(Purpose::Ticket, &ticket(until)).unwrap();
        assert_eq!(tickets.redeem(&sealed, "h").await.is_some(), is_good);
    }
    let foreign = Seal::random().unwrap().seal(Purpose::Ticket, &ticket(now + 30)).unwrap();
    assert_eq!(tickets.redeem(&foreign, "h").await, None);
    let cookie = tickets.seal.seal(Purpose::Visit, &ticket(now + 30)).unwrap();
    assert_eq!(tickets.redeem(&cookie, "h").await, None);
    assert_eq!(tickets.redeem("", "h").await, None);
}

#[tokio::test]
async fn a_ticket_is_for_its_users_host() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Some("{user}.nb.example.com"));
    let tickets = Tickets::open(&plan, None).unwrap();
    let address = tickets.issue(&user("ada"), "/notebook/ada/", None).await.unwrap();
    let begin = "https://ada.nb.example.com/notebook/-/ticket?ticket=";
    assert!(address.starts_with(begin), "{address}");
    for host in ["bob.nb.example.com", "nb.example.com", "www.example.com"] {
        assert_eq!(tickets.redeem(sealed(&address), host).await, None, "{host}");
    }
    // None of them has used it up.
    assert!(tickets.redeem(sealed(&address), "ada.nb.example.com").await.is_some());
}

/// A site that says what it is told to.
#[derive(Debug)]
struct Behind {
    says: Mutex<&'static str>,
    heard: Mutex<Vec<String>>,
}

impl Authenticator for Behind {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Word> {
        let cookie = String::from_utf8_lossy(asked.head.get("cookie").unwrap()).into_owned();
        self.heard.lock().unwrap().push(format!("{} {cookie}", asked.client.host));
        let says = *self.says.lock().unwrap();
        let mut cookies = FieldBlock::new();
        cookies.push("Set-Cookie", "session=renewed; Path=/");
        let word = match says {
            "no" => Word::No(Response::redirect(303, "/login")),
            "silence" => Word::Silence,
            "nobody" => Word::Nobody,
            name => Word::Yes(Yes { user: user(name), cookies, ask_again: AGAIN }),
        };
        Box::pin(std::future::ready(word))
    }
}

#[tokio::test]
async fn a_visit_lasts_as_long_as_the_word_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Some("https://nb.example.com"));
    let behind = Arc::new(Behind { says: Mutex::new("ada"), heard: Mutex::default() });
    let open = || Tickets::open(&plan, Some(behind.clone())).unwrap();
    let tickets = open();
    let fields = [(&b"Host"[..], &b"www.example.com"[..]), (b"Cookie", b"session=first")];
    let head = Head::from_parts("GET", b"/notebook/ada/lab", &fields).unwrap();
    let vouch = || Vouch::of(&head, &client("www.example.com"));
    let address = tickets.issue(&user("ada"), "/notebook/ada/lab", vouch()).await.unwrap();
    let host = "nb.example.com";
    let taken = tickets.redeem(sealed(&address), host).await.unwrap();
    let cookie = begun(&tickets, taken, host).await.unwrap();
    assert!(cookie.starts_with("__Host-perijove="), "{cookie}");

    let Word::Yes(yes) = said(&tickets, host, &cookie).await else { panic!("it is no visit") };
    assert_eq!(yes.user, user("ada"));
    // The site's cookies are the site's: no browser gets them here.
    assert_eq!(yes.cookies.iter().count(), 0);
    // Also after a restart, and with the cookie that the site has renewed meanwhile.
    let tickets = open();
    assert!(matches!(said(&tickets, host, &cookie).await, Word::Yes(_)));
    let heard = ["www.example.com session=first", "www.example.com session=renewed"];
    assert_eq!(*behind.heard.lock().unwrap(), heard);
    for (says, is_silence) in [("no", false), ("nobody", false), ("bob", false), ("silence", true)]
    {
        *behind.says.lock().unwrap() = says;
        match said(&tickets, host, &cookie).await {
            Word::No(answer) => assert!(answer.status == 401 && !is_silence, "{says}: {answer:?}"),
            Word::Silence => assert!(is_silence, "{says}"),
            other => panic!("{says}: {other:?}"),
        }
    }
    *behind.says.lock().unwrap() = "ada";
    assert!(matches!(said(&tickets, host, &cookie).await, Word::Yes(_)));

    // Signed out here: for good.
    let fields = [
        (&b"Host"[..], host.as_bytes()),
        (b"Cookie", cookie.split(';').next().unwrap().as_bytes()),
    ];
    let head = Head::from_parts("POST", b"/notebook/-/logout", &fields).unwrap();
    let client = client(host);
    let asked = Asked { head: &head, client: &client, owner: "", is_open: false };
    assert!(tickets.end(&asked).await.contains("Max-Age=0"));
    assert!(matches!(said(&tickets, host, &cookie).await, Word::No(_)));
    assert!(matches!(said(&open(), host, &cookie).await, Word::No(_)));
}

#[tokio::test]
async fn a_ticket_whose_ground_is_lost_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Some("https://nb.example.com"));
    let behind = Arc::new(Behind { says: Mutex::new("ada"), heard: Mutex::default() });
    let tickets = Tickets::open(&plan, Some(behind)).unwrap();
    let head = Head::from_parts("GET", b"/", &[(b"Host", b"h"), (b"Cookie", b"a=1")]).unwrap();
    let vouch = Vouch::of(&head, &client("h"));
    let address = tickets.issue(&user("ada"), "/notebook/ada/lab", vouch).await.unwrap();
    let taken = tickets.redeem(sealed(&address), "nb.example.com").await.unwrap();
    tickets.visits.end(&visit_of(&taken.id));
    assert_eq!(begun(&tickets, taken, "nb.example.com").await, None);
}
