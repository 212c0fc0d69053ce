//! An attacker's notebook: what it can do under each level, and the table that says so.
//!
//! The table in `docs/guides/isolation.md` is what is observed here; `make docs` writes it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use perijove_process::landlock;
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::world::World;

mod attacks;
mod tenants;

use attacks::{ATTACKS, Attack, HIDDEN, PREPARE};

/// A column of the table.
struct Level {
    title: &'static str,
    sandbox: &'static str,
    has_accounts: bool,
}

const LEVELS: [Level; 5] = [
    Level { title: "nothing", sandbox: "none", has_accounts: false },
    Level { title: "landlock", sandbox: "landlock", has_accounts: false },
    Level { title: "bubblewrap", sandbox: "bubblewrap", has_accounts: false },
    Level { title: "accounts", sandbox: "none", has_accounts: true },
    Level { title: "accounts and landlock", sandbox: "landlock", has_accounts: true },
];

impl Level {
    /// Why it cannot be tried on this machine.
    fn lacks(&self) -> Option<&'static str> {
        let has_account =
            |name| Command::new("id").arg(name).output().is_ok_and(|found| found.status.success());
        match self.sandbox {
            "landlock" if landlock().is_none_or(|version| version < 6) => {
                return Some("this kernel has no Landlock in version 6");
            }
            "bubblewrap" if !bubblewrap_works() => return Some("bubblewrap does not work here"),
            _ => {}
        }
        if !self.has_accounts {
            return None;
        }
        if !geteuid().is_root() {
            return Some("only root can take another account");
        }
        (!has_account("games") || !has_account("news")).then_some("there are no accounts to take")
    }

    fn settings(&self) -> Value {
        let mut settings = json!({"sandbox": self.sandbox});
        if self.has_accounts {
            settings["run-as"] = json!("{user}");
            // Accounts that nobody uses, and that every system has.
            settings["accounts"] = json!({"ada": "games", "bob": "news"});
        }
        settings
    }
}

fn bubblewrap_works() -> bool {
    let arguments = ["--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true"];
    Command::new("bwrap").args(arguments).output().is_ok_and(|tried| tried.status.success())
}

/// Which attacks succeed under a level.
#[expect(clippy::print_stderr, reason = "what each attempt met")]
async fn attack(level: &Level) -> Vec<bool> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake");
    // Of all Pythons the system's can be read by every account.
    let world = World::start(level.settings(), "/usr/bin/python3".into(), package).await;
    // So that accounts can pass through.
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o711)).unwrap();
    for (path, text) in HIDDEN {
        let path = world.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.launch("ada", json!({})).await;
    world.launch("bob", json!({})).await;
    let mut bob = world.run("bob", PREPARE).await;
    bob["pid"] = json!(server_in(&world.path("state/folders/bob")));
    let known = json!({
        "hub": world.process(), "bob": bob, "folder": world.path(""), "site": world.site.address,
    });
    world.run("ada", &attacks::knowing(&known)).await;
    let mut succeeded = Vec::new();
    for Attack { what, code } in ATTACKS {
        let code = format!("result = attempt({code:?})");
        let result = world.run("ada", &code).await;
        eprintln!("{}: {what}: {result}", level.title);
        succeeded.push(result[0] == true);
    }
    succeeded
}

/// The process that serves the notebook whose home this is.
fn server_in(home: &Path) -> u32 {
    let home = format!("HOME={}\0", home.display());
    let is_it = |pid: &u32| {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("environ").contains(&home) && read("comm").starts_with("python")
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_it).expect("the server of a notebook")
}

#[expect(clippy::print_stderr, reason = "what this machine cannot show must be seen")]
async fn check(level: &Level) {
    if let Some(why) = level.lacks() {
        eprintln!("NOT TESTED: what `{}` stops: {why}", level.title);
        return;
    }
    let observed = attack(level).await;
    let document = document();
    let mut table = Table::read(&fs::read_to_string(&document).unwrap());
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        table.put(level.title, &observed);
        table.write(&document);
    }
    assert_eq!(table.column(level.title), cells(&observed), "`make docs` writes what was observed");
}

fn cells(observed: &[bool]) -> Vec<String> {
    observed
        .iter()
        .map(|&is_open| if is_open { "**open**" } else { "stopped" }.to_owned())
        .collect()
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/isolation.md")
}

/// The table as it lies in the document: a column for each level, a row for each attack.
struct Table(Vec<Vec<String>>);

const BEGIN: &str = "<!-- observed -->\n";
const END: &str = "<!-- end -->\n";

impl Table {
    fn read(text: &str) -> Self {
        let between = text.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
        let cells =
            |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
        let lines: Vec<Vec<String>> = between.lines().skip(2).map(cells).collect();
        let row = |attack: &Attack| {
            let known = lines
                .iter()
                .find(|line: &&Vec<String>| line.first().is_some_and(|c| c == attack.what));
            known.cloned().unwrap_or_else(|| vec![attack.what.to_owned()])
        };
        let mut rows: Vec<Vec<String>> = ATTACKS.iter().map(row).collect();
        for row in &mut rows {
            row.resize(LEVELS.len() + 1, "?".to_owned());
        }
        Self(rows)
    }

    fn place(title: &str) -> usize {
        LEVELS.iter().position(|level| level.title == title).unwrap() + 1
    }

    fn column(&self, title: &str) -> Vec<String> {
        self.0.iter().map(|row| row[Self::place(title)].clone()).collect()
    }

    fn put(&mut self, title: &str, observed: &[bool]) {
        for (row, cell) in self.0.iter_mut().zip(cells(observed)) {
            row[Self::place(title)] = cell;
        }
    }

    fn write(&self, path: &Path) {
        let text = fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let after = rest.split_once(END).unwrap().1;
        let titles: Vec<String> = LEVELS.iter().map(|level| level.title.to_owned()).collect();
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut table = line(&[vec!["an attempt to".to_owned()], titles].concat());
        table.push_str(&line(&vec!["---".to_owned(); LEVELS.len() + 1]));
        for row in &self.0 {
            table.push_str(&line(row));
        }
        fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
}

#[tokio::test]
async fn without_anything_everything_is_open() {
    check(&LEVELS[0]).await;
}

#[tokio::test]
async fn landlock_stops_what_the_table_says() {
    check(&LEVELS[1]).await;
}

#[tokio::test]
async fn bubblewrap_stops_what_the_table_says() {
    check(&LEVELS[2]).await;
}

#[tokio::test]
async fn accounts_stop_what_the_table_says() {
    check(&LEVELS[3]).await;
}

#[tokio::test]
async fn accounts_and_landlock_stop_what_the_table_says() {
    check(&LEVELS[4]).await;
}

#[tokio::test]
async fn what_is_shared_can_be_read_and_nothing_beside_it() {
    if LEVELS[1].lacks().is_some() {
        eprintln!("NOT TESTED: what is shared under landlock");
        return;
    }
    let mut world = World::with(json!({"share": ["site/always"], "sandbox": "landlock"})).await;
    for path in ["site/always/a", "site/launch/b", "site/neither/c", "state/d"] {
        let path = world.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    // The site may share all of it: what is ours stays hidden.
    let body = json!({"share": [world.path("site/launch"), world.path("state")]});
    world.launch("ada", body).await;
    let mut seen = Vec::new();
    for path in ["site/always/a", "site/launch/b", "site/neither/c", "state/d"] {
        let open = format!(
            "try:\n    open({:?}).read(); result = True\nexcept OSError:\n    result = False",
            world.path(path)
        );
        seen.push(world.run("ada", &open).await);
    }
    assert_eq!(seen, [json!(true), json!(true), json!(false), json!(false)]);
    let writes = format!(
        "try:\n    open({:?}, 'w'); result = True\nexcept OSError:\n    result = False",
        world.path("site/always/a")
    );
    assert_eq!(world.run("ada", &writes).await, json!(false));
    world.kill();
    world.revive().await;
}

#[tokio::test]
async fn a_user_without_an_account_is_told_what_to_do() {
    if !geteuid().is_root() {
        eprintln!("NOT TESTED: only root can take another account");
        return;
    }
    let world = World::with(json!({"run-as": "{user}"})).await;
    for (user, expected) in [
        ("ada%40example.com", "is no name of one"),
        ("no-such-account-here", "there is no \"no-such-account-here\""),
        ("root", "is the system's"),
    ] {
        let answer = world.control("POST", &format!("/notebooks/{user}"), json!({})).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(expected), "{error}");
        assert!(answer.json()["hint"].as_str().unwrap().contains("notebook."), "{answer:?}");
    }
}
