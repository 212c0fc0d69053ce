//! Whose notebook a path means, and whether it is spelled as it should be.

use perijove_gateway::Head;

use crate::{config::Plan, user::User};

/// First segments that name nobody: addresses below Jupyter's root as the original of this
/// program had them, which lead to the asker's own notebook.
pub(crate) const ASKERS_OWN: [&str; 3] = ["lab", "notebooks", "tree"];

/// What a path below that of notebooks means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) owner: Owner,
    pub(crate) respelled: Option<Respelled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The path names nobody: whoever asks means their own.
    Asker,
    User(User),
    /// What stands there can be nobody's name.
    Nobody,
}

/// The target as it should have been spelled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Respelled {
    pub(crate) target: String,
    /// Else only the query is another.
    pub(crate) is_path_changed: bool,
}

pub(crate) fn read_address(plan: &Plan, head: &Head) -> Address {
    read(plan, head.path(), head.query())
}

fn read(plan: &Plan, path: &[u8], query: Option<&[u8]>) -> Address {
    let below = path.strip_prefix(plan.path.as_bytes()).unwrap_or_default();
    let end = below.iter().position(|byte| *byte == b'/');
    let (segment, rest) = match end {
        Some(end) => below.split_at(end),
        None => (below, &b""[..]),
    };
    let owner = owner_of(segment);
    let canonical = match &owner {
        Owner::User(user) => {
            let canonical = user.canonical(&plan.site_paths);
            (canonical.as_bytes() != segment).then_some(canonical)
        }
        Owner::Asker | Owner::Nobody => None,
    };
    let clean = query.and_then(without_token);
    let is_path_changed = canonical.is_some();
    let respelled = (is_path_changed || clean.is_some()).then(|| {
        // What is not text stays out of a redirect; nobody writes such addresses by hand.
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let name = canonical.unwrap_or_else(|| text(segment));
        let query = clean.unwrap_or_else(|| query.map(text).unwrap_or_default());
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}{name}{}{mark}{query}", plan.path, text(rest));
        Respelled { target, is_path_changed }
    });
    Address { owner, respelled }
}

fn owner_of(segment: &[u8]) -> Owner {
    let is_own = segment.is_empty() || ASKERS_OWN.iter().any(|word| word.as_bytes() == segment);
    if is_own {
        return Owner::Asker;
    }
    User::from_segment(segment).map_or(Owner::Nobody, Owner::User)
}

/// The query without `token`, which is the site's or somebody's guess at Jupyter's; `None` when
/// it holds none.
fn without_token(query: &[u8]) -> Option<String> {
    let query = String::from_utf8_lossy(query);
    let is_token = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
        crate::user::percent_decode(name.as_bytes()).is_some_and(|name| name == b"token")
    };
    if !query.split(['&', ';']).any(is_token) {
        return None;
    }
    Some(
        query
            .split('&')
            .filter(|pair| !pair.split(';').any(is_token))
            .collect::<Vec<_>>()
            .join("&"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let around = crate::Surroundings {
            is_alone: false,
            hosts: Vec::new(),
            has_site: true,
            base: "/".into(),
            state_folder: "/s".into(),
            runtime_folder: "/r".into(),
            python: Some("/p".into()),
            package: "/l".into(),
            guardian: "/g".into(),
        };
        let config = crate::Config { site_paths: vec!["shutdown".into()], ..Default::default() };
        config.resolve(&around).unwrap()
    }

    fn user(name: &str) -> Owner {
        Owner::User(User::new(name).unwrap())
    }

    /// The owner, and the target to be used instead where there is one.
    fn check(target: &str, owner: Owner, instead: Option<&str>) {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (target, None),
        };
        let address = read(&plan(), path.as_bytes(), query);
        let respelled = address.respelled.map(|respelled| respelled.target);
        assert_eq!((address.owner, respelled.as_deref()), (owner, instead), "{target}");
    }

    #[test]
    fn every_path_has_one_owner_and_one_spelling() {
        check("/notebook/", Owner::Asker, None);
        check("/notebook/tree/x", Owner::Asker, None);
        check("/notebook/notebooks/default.ipynb", Owner::Asker, None);
        check("/notebook/ada", user("ada"), None);
        check("/notebook/ada/lab?x=1", user("ada"), None);
        check("/notebook/%61da/lab?x=1", user("ada"), Some("/notebook/ada/lab?x=1"));
        check("/notebook/a@b.c/%61", user("a@b.c"), Some("/notebook/a%40b%2Ec/%61"));
        check("/notebook/a%40b%2ec/", user("a@b.c"), Some("/notebook/a%40b%2Ec/"));
        check("/notebook/a%40b%2Ec/", user("a@b.c"), None);
        check("/notebook/%6Cab/", user("lab"), None);
        check("/notebook/LAB/", user("LAB"), Some("/notebook/%4CAB/"));
        check("/notebook/%2Fetc/", user("/etc"), None);
        check("/notebook/%ff/", Owner::Nobody, None);
        check("/notebook//ada/", Owner::Asker, None);
        check("/notebook/%2E%2E/", Owner::Nobody, None);
        check("/notebook/../admin", Owner::Nobody, None);
    }

    #[test]
    fn tokens_stay_outside() {
        check("/notebook/ada/?token=x", user("ada"), Some("/notebook/ada/"));
        check("/notebook/ada/?a=1&token=x&b=2", user("ada"), Some("/notebook/ada/?a=1&b=2"));
        check("/notebook/ada/?%74oken=x&tokens=1", user("ada"), Some("/notebook/ada/?tokens=1"));
        check("/notebook/ada/?a=1;token=x", user("ada"), Some("/notebook/ada/"));
        check("/notebook/ada/?tok=token", user("ada"), None);
        check("/notebook/%61da/?token=x", user("ada"), Some("/notebook/ada/"));
    }
}
