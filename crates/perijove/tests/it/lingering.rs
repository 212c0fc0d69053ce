//! Websockets of a version that was replaced: they live on, to a deadline of their own.

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::site::{PATIENCE, Plan, Site, until};

struct Talk(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Talk {
    async fn begin(site: &Site) -> Self {
        let url = format!("ws://{}/talk", site.address());
        Self(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    /// What is answered: the version, and the process.
    async fn say(&mut self, text: &str) -> (String, i32) {
        self.0.send(Message::text(text.to_owned())).await.unwrap();
        let heard = self.hear().await.into_text().unwrap();
        let mut words = heard.split(' ');
        let version = words.next().unwrap().to_owned();
        let pid = words.next().unwrap().parse().unwrap();
        assert_eq!(words.next().unwrap(), text);
        (version, pid)
    }

    async fn hear(&mut self) -> Message {
        timeout(PATIENCE, self.0.next()).await.expect("no message").unwrap().unwrap()
    }
}

fn plan() -> Plan {
    Plan::new().wsgi("chat").set("site.interface = 'asgi'").set("site.probation = '50ms'")
}

fn version(number: &str) -> String {
    include_str!("apps/chat.py").replace("VERSION = \"one\"", &format!("VERSION = \"{number}\""))
}

fn phases(site: &Site) -> Vec<String> {
    let status = site.status();
    let workers = status["application"]["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["phase"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn websockets_of_the_old_version_live_on_beside_the_new_one() {
    let site = plan().set("limits.drain-time = '1s'").start().await;
    let mut old = Talk::begin(&site).await;
    let (told, before) = old.say("hello").await;
    assert_eq!(told, "one");
    site.write("app.py", version("the-second"));
    let told = site.command(&["reload"]);
    let told = crate::site::text(&told.stderr);
    assert!(told.contains("1 websocket of the old version still open"), "{told}");
    let mut new = Talk::begin(&site).await;
    assert_eq!(new.say("hello").await.0, "the-second");
    until("only its websocket is left", || phases(&site) == ["serving", "lingering"]).await;
    // Longer than requests are drained for.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(old.say("still-there").await, ("one".to_owned(), before));
    assert_eq!(phases(&site), ["serving", "lingering"]);
    // With its last websocket the old version ends.
    drop(old);
    until("the old one is gone", || phases(&site) == ["serving"]).await;
    assert_eq!(new.say("and-here").await.0, "the-second");
}

#[tokio::test]
async fn websockets_of_the_old_version_end_with_a_word_at_their_deadline() {
    let site =
        plan().set("limits.drain-time = '500ms'").set("site.websocket-time = '1s'").start().await;
    let mut old = Talk::begin(&site).await;
    old.say("hello").await;
    site.tell(&["reload"]);
    let Message::Close(Some(farewell)) = old.hear().await else { panic!("no close") };
    // Of the gateway, or of the worker, whichever comes first: it goes away, it is started again.
    assert!(matches!(farewell.code.into(), 1001 | 1012), "{farewell:?}");
    until("the old one is gone", || phases(&site) == ["serving"]).await;
}

#[tokio::test]
async fn only_so_many_old_versions_live_on() {
    let site = plan().set("limits.drain-time = '500ms'").start().await;
    let mut talks = Vec::new();
    for _ in 0..6 {
        let mut talk = Talk::begin(&site).await;
        talk.say("hello").await;
        talks.push(talk);
        site.tell(&["reload"]);
    }
    // Four live on; those before them have been told to go.
    for talk in &mut talks[..2] {
        assert!(talk.hear().await.is_close());
    }
    for talk in &mut talks[2..] {
        assert_eq!(talk.say("still-there").await.0, "one");
    }
    until("five are left", || phases(&site).len() == 5).await;
}
