//! The account that Apache runs the application as, when root starts it: Apache refuses to run it
//! as root.

use std::{fs, io};

use perijove_process::Account;

use crate::Plan;

/// Accounts that systems have for this, in the order in which they are tried.
const USUAL: [&str; 4] = ["www-data", "apache", "http", "nobody"];

/// An account and its group, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::driver) struct Names {
    pub(in crate::driver) user: String,
    pub(in crate::driver) group: String,
}

/// The account to name: that of the site, else a usual one. None when we are not root, or when an
/// argument of the site's names one.
pub(in crate::driver) fn wanted(plan: &Plan) -> io::Result<Option<Names>> {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || named(&plan.server_arguments).is_some() {
        return Ok(None);
    }
    let (accounts, groups) =
        (fs::read_to_string("/etc/passwd")?, fs::read_to_string("/etc/group")?);
    if let Some(Account { uid, gid, .. }) = plan.account {
        let names =
            || Some(Names { user: name_of(&accounts, uid)?, group: name_of(&groups, gid)? });
        let why = "mod_wsgi-express wants the account and the group of the site by their names, and \
                   /etc/passwd and /etc/group have none";
        return names().map(Some).ok_or_else(|| io::Error::other(why));
    }
    let found = USUAL.iter().find_map(|user| {
        let [_, gid] = numbers(&accounts, user)?;
        Some(Names { user: (*user).to_owned(), group: name_of(&groups, gid)? })
    });
    let why = "there is no account www-data, apache, http or nobody to run Apache as";
    found.map(Some).ok_or_else(|| io::Error::other(why))
}

/// The account that the application will run as, if it is not ours.
pub(in crate::driver) fn other(plan: &Plan) -> io::Result<Option<(String, Account)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let user = match (named(&plan.server_arguments), &plan.account) {
        (Some(user), _) => user.to_owned(),
        (None, Some(account)) => return Ok(Some((account.uid.to_string(), account.clone()))),
        (None, None) => match wanted(plan)? {
            Some(names) => names.user,
            None => return Ok(None),
        },
    };
    let accounts = fs::read_to_string("/etc/passwd")?;
    let [uid, gid] = numbers(&accounts, &user)
        .ok_or_else(|| io::Error::other(format!("there is no account {user}")))?;
    Ok(Some((user, Account { uid, gid, groups: vec![gid] })))
}

/// The account that arguments of mod_wsgi-express name.
fn named(arguments: &[String]) -> Option<&str> {
    arguments.iter().enumerate().find_map(|(at, argument)| match argument.as_str() {
        "--user" => arguments.get(at + 1).map(String::as_str),
        _ => argument.strip_prefix("--user="),
    })
}

/// The numbers of an account and of its group, from lines as in `/etc/passwd`.
fn numbers(accounts: &str, user: &str) -> Option<[u32; 2]> {
    let mut fields = line(accounts, user)?.split(':').skip(2);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.split(':').next() == Some(name))
}

/// What a number is called: in both files the name is the first field, and the number the third.
fn name_of(text: &str, number: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34::/var/www:/bin/false\n";
        assert_eq!(numbers(accounts, "www-data"), Some([33, 34]));
        assert_eq!(numbers(accounts, "www"), None);
        assert_eq!(name_of(accounts, 33).as_deref(), Some("www-data"));
        assert_eq!(name_of("root:x:0:\nweb:x:34:a,b\n", 34).as_deref(), Some("web"));
        assert_eq!(name_of("root:x:0:\n", 34), None);
    }

    #[test]
    fn the_account_that_is_named_counts() {
        let check = |arguments: &[&str], expected: Option<&str>| {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            assert_eq!(named(&arguments), expected);
        };
        check(&["--threads", "2"], None);
        check(&["--threads", "2", "--user", "ada"], Some("ada"));
        check(&["--user=bob"], Some("bob"));
        check(&["--user"], None);
    }
}
