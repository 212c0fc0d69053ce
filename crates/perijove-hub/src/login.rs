//! Perijove itself says who may pass: users sign in with a password, a cookie remembers it.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use perijove_gateway::{FieldBlock, Head, Response};
use tokio::sync::Semaphore;

use crate::{
    authority::{Asked, Authenticator, Word, Yes},
    clock,
    config::Plan,
    pages,
    register::{self, Hash, Password, Register},
    seal::{Purpose, Seal, random_name},
    session::{Kind, Session, Towards, no_cookie},
    spawn::Pending,
    spent::Spent,
    user::User,
};

mod pace;

use pace::Pace;

/// A session of a day's work, at most of a week.
const KIND: Kind = Kind {
    purpose: Purpose::Login,
    idle: Duration::from_secs(12 * 3600),
    whole: Duration::from_secs(7 * 24 * 3600),
};
/// How often an open connection is asked about: whoever is taken off the list loses it within five
/// seconds.
const AGAIN: Duration = Duration::from_millis(3500);
/// Passwords that are hashed at the same time: each takes a processor and 19 MiB.
const AT_ONCE: usize = 2;
/// Those who wait for that.
const WAITING: usize = 32;
/// How long somebody waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The users file, the sessions, and the pace at which passwords may be tried.
#[derive(Debug)]
pub(crate) struct Login {
    register: Arc<Register>,
    seal: Seal,
    spent: Arc<Spent>,
    pace: Pace,
    hashing: Semaphore,
    waiting: Semaphore,
    /// Below it notebooks live.
    path: String,
    is_framed: bool,
}

/// What became of an attempt to sign in.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The value of `Set-Cookie`.
    In(String),
    /// No such user, or another password: which of them is not said.
    No,
    /// Too many attempts; this long to wait.
    Later(Duration),
    /// Too many others are signing in.
    Busy,
}

impl Login {
    /// Reads who may sign in. It blocks.
    pub(crate) fn open(plan: &Plan, spent: Arc<Spent>) -> io::Result<Self> {
        let state_folder = &plan.state_folder;
        let register = Register::open(state_folder).map_err(io::Error::other)?;
        if register.users().is_empty() {
            tracing::warn!("nobody can sign in yet; hint: `perijove user add NAME` adds a user");
        }
        // Made now, so that the first name that nobody has takes no longer than those after it.
        Hash::of_nobody();
        Ok(Self {
            register: Arc::new(register),
            seal: Seal::open(state_folder)?,
            spent,
            pace: Pace::default(),
            hashing: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(WAITING),
            path: plan.path.clone(),
            is_framed: plan.is_framed(),
        })
    }

    /// The session that a request shows, if its user may still sign in.
    pub(crate) fn session(&self, asked: &Asked<'_>) -> Option<Session> {
        let session = KIND.read(&self.seal, asked.head, asked.client, clock::now())?;
        let is_current =
            self.register.entry(&session.user).is_some_and(|entry| entry.mark == session.mark);
        (is_current && !self.spent.has(&session.id)).then_some(session)
    }

    /// Compares a password, at the pace that is allowed.
    pub(crate) async fn attempt(
        &self,
        towards: Towards<'_>,
        name: &str,
        password: Password,
    ) -> Attempt {
        let address = towards.client.address.map(|address| address.ip());
        let user = User::new(name).ok();
        if let Err(wait) = self.pace.admit(address, name, Instant::now()) {
            tracing::warn!(?address, "too many attempts to sign in");
            return Attempt::Later(wait);
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Attempt::Busy };
        let Ok(Ok(_turn)) = tokio::time::timeout(PATIENCE, self.hashing.acquire()).await else {
            return Attempt::Busy;
        };
        let register = self.register.clone();
        let compared = tokio::task::spawn_blocking(move || compare(&register, user, &password));
        match compared.await {
            Ok(Some((user, mark))) => {
                self.pace.forgive(address, name);
                tracing::info!(%user, ?address, "signed in");
                self.begin(user, mark, towards).map_or(Attempt::Busy, Attempt::In)
            }
            Ok(None) => {
                // Not the name: people type their password there.
                tracing::warn!(?address, "an attempt to sign in failed");
                Attempt::No
            }
            Err(_) => Attempt::Busy,
        }
    }

    fn begin(&self, user: User, mark: String, towards: Towards<'_>) -> Option<String> {
        let now = clock::now();
        let id = random_name().ok()?;
        let session = Session { id, user, mark, began: now, ends: KIND.end(now, now) };
        KIND.cookie(&self.seal, &session, towards, now)
    }

    /// Ends a session everywhere, and says how the browser forgets it.
    pub(crate) async fn end(self: &Arc<Self>, asked: Asked<'_>, towards: Towards<'_>) -> String {
        if let Some(session) = self.session(&asked) {
            let login = self.clone();
            let until = session.began + KIND.whole.as_secs();
            let ended =
                tokio::task::spawn_blocking(move || login.spent.spend(&session.id, until)).await;
            if !matches!(ended, Ok(Ok(_))) {
                tracing::warn!("a session that was ended may come back after a restart");
            }
        }
        no_cookie(towards)
    }

    fn word(&self, asked: &Asked<'_>) -> Word {
        let Some(session) = self.session(asked) else { return Word::No(self.not_signed_in(asked)) };
        let now = clock::now();
        let mut cookies = FieldBlock::new();
        let towards = Towards { client: asked.client, path: &self.path, is_framed: self.is_framed };
        if asked.head.upgrade().is_none()
            && let Some(renewed) = KIND.renewed(&session, now)
            && let Some(cookie) = KIND.cookie(&self.seal, &renewed, towards, now)
        {
            cookies.push("Set-Cookie", cookie);
        }
        Word::Yes(Yes { user: session.user, cookies, ask_again: AGAIN })
    }

    fn not_signed_in(&self, asked: &Asked<'_>) -> Response {
        let next = is_visit(asked.head).then(|| asked.head.target());
        pages::sign_in_first(asked.head, &self.path, next)
    }
}

impl Authenticator for Login {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Word> {
        Box::pin(std::future::ready(self.word(&asked)))
    }

    /// Reads the users file again when it has changed.
    fn watch(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut is_told = false;
            loop {
                tokio::time::sleep(register::PAUSE).await;
                let register = self.register.clone();
                let read = tokio::task::spawn_blocking(move || register.refresh()).await;
                match read {
                    Ok(Err(error)) if !is_told => {
                        is_told = true;
                        tracing::error!(%error, "the users file cannot be used: nobody may pass");
                    }
                    Ok(Ok(())) => is_told = false,
                    _ => {}
                }
            }
        })
    }
}

/// The user and their mark, when the password is theirs. Takes equally long whoever is named.
fn compare(register: &Register, user: Option<User>, password: &Password) -> Option<(User, String)> {
    if let Err(error) = register.refresh() {
        tracing::error!(%error, "the users file cannot be used");
    }
    let found = user.and_then(|user| Some((register.entry(&user)?, user)));
    let is_of = match &found {
        Some((entry, _)) => entry.password.is_of(password),
        None => Hash::of_nobody().is_some_and(|hash| hash.is_of(password)),
    };
    found.filter(|_| is_of).map(|(entry, user)| (user, entry.mark))
}

/// Whether a person asks who can be led to a page and back.
fn is_visit(head: &Head) -> bool {
    matches!(head.method(), "GET" | "HEAD") && head.upgrade().is_none()
}

/// Addresses that are counted as one: who has one IPv6 address has 2⁶⁴ of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
