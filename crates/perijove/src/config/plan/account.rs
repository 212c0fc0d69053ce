//! The Unix accounts that processes of the site run as.

use std::process::{Command, Stdio};

use perijove_process::Account;

use super::Check;

/// The account of a name, where one is given. Only root can become somebody else.
pub(super) fn account(
    (user, key): (Option<&str>, &str),
    group: Option<&str>,
    check: &mut Check<'_>,
) -> Option<Account> {
    let Some(user) = user else {
        if group.is_some() {
            check.wrong(key, "a group needs an account: `user` is missing", "");
        }
        return None;
    };
    let Some(mut account) = look_up(user) else {
        let hint = "`getent passwd` lists the accounts of this machine";
        check.wrong(key, format!("there is no account {user:?}"), hint);
        return None;
    };
    if let Some(group) = group {
        match group_id(group) {
            Some(gid) => account.gid = gid,
            None => check.wrong(key, format!("there is no group {group:?}"), ""),
        }
    }
    let own = rustix::process::geteuid();
    if own.as_raw() == account.uid && group.is_none() {
        return None;
    }
    if !own.is_root() {
        let hint = "start perijove as root, or leave the account as it is";
        check.wrong(key, format!("only root can run something as {user:?}"), hint);
    }
    Some(account)
}

/// Asks `id`, which knows every source of accounts that the system has.
fn look_up(user: &str) -> Option<Account> {
    let number = |option: &str| id(&[option, "--", user])?.trim().parse().ok();
    let groups = id(&["-G", "--", user])?;
    let groups = groups.split_whitespace().filter_map(|group| group.parse().ok()).collect();
    Some(Account { uid: number("-u")?, gid: number("-g")?, groups })
}

fn id(arguments: &[&str]) -> Option<String> {
    let told = Command::new("id").args(arguments).stdin(Stdio::null()).output().ok()?;
    told.status.success().then(|| String::from_utf8(told.stdout).ok()).flatten()
}

fn group_id(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let told = Command::new("getent").args(["group", "--", group]).output().ok()?;
    String::from_utf8(told.stdout).ok()?.split(':').nth(2)?.trim().parse().ok()
}
