//! What the settings leave open, in plain words.

use super::{Keeper, keeper};
use crate::{
    config::{Isolation, Plan},
    domain::bare,
};

/// Each weakness that is open with these settings on this machine, with what closes it. It may
/// block for a moment.
pub fn weaknesses(plan: &Plan) -> Vec<String> {
    let isolation = &plan.isolation;
    let mut found = Vec::new();
    let is_root = rustix::process::geteuid().is_root();
    let keeper = keeper(isolation);
    match (&keeper, isolation.run_as.is_some()) {
        (Ok(Keeper::Nobody), false) => found.push(
            "notebooks are kept from nothing: each can read the site's code, its environment with \
             all secrets, the control socket's secret, and the files of every user, and can signal \
             and trace every process of this account; \
             hint: leave `notebook.sandbox` at \"auto\", or set `notebook.run-as`"
                .to_owned(),
        ),
        (Ok(Keeper::Nobody), true) => found.push(
            "notebooks have accounts of their own and no sandbox: each can read what every account \
             of this machine can; hint: leave `notebook.sandbox` at \"auto\""
                .to_owned(),
        ),
        (Ok(Keeper::Landlock(_)), false) => found.push(
            "all notebooks run as one account: each can connect to every Unix socket of that \
             account which asks for no secret, and reach terminals and shared memory of others; \
             hint: set `notebook.run-as`, or `notebook.sandbox = \"bubblewrap\"`"
                .to_owned(),
        ),
        (Ok(_), _) => {}
        (Err(error), _) => {
            found.push(format!("notebooks cannot be started: {error}; hint: {}", error.hint()));
        }
    }
    if let Ok(Keeper::Landlock(version)) = keeper
        && version < 6
        && isolation.run_as.is_none()
    {
        found.push(format!(
            "this kernel's Landlock (version {version}) does not keep a notebook from signalling \
             other processes of its account; hint: Linux 6.12 does, and so does `notebook.run-as`"
        ));
    }
    if is_root && isolation.run_as.is_none() {
        found.push(
            "perijove runs as root, and notebooks with it; hint: set `notebook.run-as`, or start \
             perijove as an account of its own"
                .to_owned(),
        );
    }
    found.extend(of_limits(isolation));
    if plan.insecure {
        found.push(
            "notebooks are used by plain HTTP from everywhere, where whoever is on the way reads and \
             changes all: `notebook.insecure` is set; hint: leave it out, and serve by HTTPS"
                .to_owned(),
        );
    }
    found.extend(of_origins(plan));
    found
}

/// What a notebook could take from the others.
fn of_limits(isolation: &Isolation) -> Vec<String> {
    let mut found = Vec::new();
    if isolation.wants_group() && perijove_process::group::writable().is_none() {
        found.push(
            "no control group can be written here: the memory of a notebook is limited for each \
             process by itself, its processors not at all; \
             hint: start perijove by systemd with `Delegate=yes`, or as root"
                .to_owned(),
        );
    }
    if isolation.limits.memory.is_none() {
        found.push(
            "one notebook can use all memory of the machine; hint: set `notebook.limits`"
                .to_owned(),
        );
    }
    found
}

/// What a notebook's pages could do to others.
fn of_origins(plan: &Plan) -> Option<String> {
    let Some(domain) = &plan.domain else {
        return (!plan.is_alone).then(|| {
            "notebooks share the origin of the site: what one shows, and every file that is opened in \
             it, can act on the site as its visitor; \
             hint: set `notebook.domain = \"https://nb.example.com\"`, a domain that serves nothing else"
                .to_owned()
        });
    };
    let (_, site) = plan.site_origin.as_deref()?.split_once("://")?;
    let shared = shared_domain(bare(site), domain.name())?;
    Some(format!(
        "the site and the notebooks are both below {shared}: scripts in a notebook can set cookies for \
         all of {shared}, and browsers take the two for one site; hint: give notebooks a domain that \
         has nothing in common with the site's, or let the names of the site's cookies begin with `__Host-`"
    ))
}

/// The domain that both lie below, if one can be bought alone. Some that cannot (`co.uk`) look
/// like it: those are known by their short names.
fn shared_domain<'a>(site: &'a str, notebooks: &str) -> Option<&'a str> {
    let is_below = |name: &str, domain: &str| {
        name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let parent = site
        .split_once('.')
        .map(|(_, parent)| parent)
        .filter(|parent| parent.split_once('.').is_some_and(|(first, _)| first.len() > 3));
    [parent, Some(site)].into_iter().flatten().find(|domain| is_below(notebooks, domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_one_domain_is_known() {
        let check = |site: &str, notebooks: &str, expected: Option<&str>| {
            assert_eq!(shared_domain(site, notebooks), expected, "{site} {notebooks}");
        };
        check("www.example.com", "nb.example.com", Some("example.com"));
        check("example.com", "nb.example.com", Some("example.com"));
        check("shop.example.com", "nb.shop.example.com", Some("example.com"));
        check("www.example.com", "example-notebooks.com", None);
        check("www.example.com", "nb.myexample.com", None);
        check("example.co.uk", "other.co.uk", None);
        check("localhost", "nb.localhost", Some("localhost"));
    }
}
