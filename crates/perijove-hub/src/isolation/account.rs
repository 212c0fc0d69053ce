//! The Unix account that a user's notebook runs as.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use perijove_process::Account;

use super::Unable;
use crate::{
    config::{Isolation, isolation::is_account_name},
    user::User,
};

/// Below this number accounts are the system's, where the machine does not say otherwise.
const FIRST_OF_PEOPLE: u32 = 1000;
/// What nobody is.
const NOBODY: u32 = 65_534;

/// An account with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) account: Account,
}

/// The account of a user, made if that is wanted; `None` when all run as perijove does. It blocks.
///
/// A name that a template makes is a user's own choice, where people may sign up: accounts of the
/// system are not taken by it, but where they are named in the configuration.
pub(crate) fn tenant(
    isolation: &Isolation,
    user: &User,
    home: &Path,
) -> Result<Option<Tenant>, Unable> {
    let Some(template) = &isolation.run_as else { return Ok(None) };
    let named = isolation.accounts.get(user.name());
    let is_named = named.is_some() || !template.contains("{user}");
    let name = named.cloned().unwrap_or_else(|| template.replace("{user}", user.name()));
    if !is_account_name(&name) {
        return Err(Unable::NoName { user: user.name().to_owned(), name });
    }
    let mut found = look_up(&name);
    if found.is_none() && isolation.create_accounts && !is_named {
        make(&name, home)?;
        found = look_up(&name);
    }
    let Some(account) = found else {
        return Err(Unable::NoAccount { user: user.name().to_owned(), name });
    };
    let first = first_of_people(&fs::read_to_string("/etc/login.defs").unwrap_or_default());
    let is_systems = account.uid < first || account.uid == NOBODY;
    if account.uid == 0 || (is_systems && !is_named) {
        return Err(Unable::System { name, uid: account.uid });
    }
    Ok(Some(Tenant { name, account }))
}

/// Asks `id`, which knows every source of accounts that the system has.
fn look_up(name: &str) -> Option<Account> {
    let number = |option: &str| id(&[option, "--", name])?.trim().parse().ok();
    let groups = id(&["-G", "--", name])?;
    let groups = groups.split_whitespace().filter_map(|group| group.parse().ok()).collect();
    Some(Account { uid: number("-u")?, gid: number("-g")?, groups })
}

fn id(arguments: &[&str]) -> Option<String> {
    let told = run("id", arguments).ok()?;
    told.status.success().then(|| String::from_utf8(told.stdout).ok()).flatten()
}

fn make(name: &str, home: &Path) -> Result<(), Unable> {
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let home = home.to_string_lossy();
    // The second is BusyBox's.
    let ways: [(&str, &[&str]); 2] = [
        ("useradd", &["--no-create-home", "--user-group", "--home-dir", &home, "--shell", shell]),
        ("adduser", &["-D", "-H", "-h", &home, "-s", shell]),
    ];
    let mut said = "there is neither `useradd` nor `adduser`".to_owned();
    for (program, options) in ways {
        match run(program, &[options, &["--", name]].concat()) {
            Ok(told) if told.status.success() => {
                tracing::info!(account = name, "an account was made");
                return Ok(());
            }
            Ok(told) => {
                // Another start may have made it meanwhile.
                if look_up(name).is_some() {
                    return Ok(());
                }
                String::from_utf8_lossy(&told.stderr).trim().clone_into(&mut said);
                break;
            }
            Err(_) => {}
        }
    }
    Err(Unable::NotMade { name: name.to_owned(), said })
}

/// Runs one of the system's programs; those of administrators need not be on our search path.
fn run(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    let search = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", search).stdin(Stdio::null());
    command.output()
}

/// `UID_MIN` of login.defs(5).
fn first_of_people(settings: &str) -> u32 {
    let value = settings.lines().find_map(|line| line.trim().strip_prefix("UID_MIN"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(FIRST_OF_PEOPLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run_as: &str, accounts: &[(&str, &str)], user: &str, expected: &str) {
        let accounts =
            accounts.iter().map(|(user, name)| ((*user).to_owned(), (*name).to_owned())).collect();
        let isolation =
            Isolation { run_as: Some(run_as.to_owned()), accounts, ..Isolation::default() };
        let found = tenant(&isolation, &User::new(user).unwrap(), Path::new("/nowhere"));
        let found = match found {
            Ok(tenant) => tenant.unwrap().name,
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{user} by {run_as}");
    }

    #[test]
    fn accounts_of_the_system_are_nobodys_by_accident() {
        let system = |name, uid| {
            format!("the account {name:?} is the system's (number {uid}): no user is meant by it")
        };
        check("{user}", &[], "root", &system("root", 0));
        check("{user}", &[], "daemon", &system("daemon", 1));
        check("{user}", &[("ada", "daemon")], "ada", "daemon");
        check("daemon", &[], "ada", "daemon");
        check("{user}", &[("ada", "root")], "ada", &system("root", 0));
        check("root", &[], "ada", &system("root", 0));
    }

    #[test]
    fn names_that_are_none_and_accounts_that_are_not_there_are_told() {
        let no_name = |user, name| {
            format!("the user {user:?} has no Unix account: {name:?} is no name of one")
        };
        check("{user}", &[], "ada@example.com", &no_name("ada@example.com", "ada@example.com"));
        check("nb-{user}", &[], "Ada", &no_name("Ada", "nb-Ada"));
        check("{user}", &[], "-u", &no_name("-u", "-u"));
        let none = "the user \"ada\" has no Unix account: there is no \"nb-no-such-ada\"";
        check("nb-no-such-{user}", &[], "ada", none);
    }

    #[test]
    fn where_people_begin_is_read() {
        let check = |settings, expected| assert_eq!(first_of_people(settings), expected);
        check("", 1000);
        check("# UID_MIN 7\nUID_MIN\t\t 500\nUID_MAX 60000", 500);
    }
}
