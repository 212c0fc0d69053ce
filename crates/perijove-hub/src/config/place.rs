//! Where notebooks are: on which domain, in whose frames, for which networks.

use std::net::{IpAddr, Ipv4Addr};

use perijove_gateway::network;

use super::{Config, Embed, Surroundings, check::Mistakes};
use crate::{
    domain::Domain,
    origin::{Origin, is_this_machine},
};

/// How a policy names the origin of the page itself.
pub(super) const OWN: &str = "'self'";

/// What is decided about it.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) domain: Option<Domain>,
    pub(super) site_origin: Option<String>,
    pub(super) embed: Vec<String>,
    pub(super) allow_from: Vec<(IpAddr, u8)>,
}

pub(super) fn check(config: &Config, around: &Surroundings, mistakes: &mut Mistakes) -> Place {
    let domain = config.domain.as_deref().and_then(|text| domain(text, config, around, mistakes));
    let site_origin = domain.as_ref().and_then(|domain| site_origin(domain, around));
    Place {
        embed: embed(config, domain.as_ref(), site_origin.as_deref(), mistakes),
        allow_from: networks(&config.allow_from, mistakes),
        domain,
        site_origin,
    }
}

fn domain(
    text: &str,
    config: &Config,
    around: &Surroundings,
    mistakes: &mut Mistakes,
) -> Option<Domain> {
    let domain = match Domain::parse(text) {
        Ok(domain) => domain,
        Err((problem, hint)) => {
            mistakes.add("domain", problem, Some(hint));
            return None;
        }
    };
    let name = domain.some_host();
    let is_at = |known: &&String| match known.strip_prefix('*') {
        // A domain within a pattern of the site's is nearer, and goes before it.
        Some(end) => domain.has_host_for_each() && end.strip_prefix('.') == Some(domain.name()),
        None => known.eq_ignore_ascii_case(&name) || known.eq_ignore_ascii_case(domain.name()),
    };
    if let Some(host) = around.hosts.iter().find(is_at) {
        let problem = format!("is the site's own: {host} is one of its hosts");
        let hint = "give notebooks a domain that serves nothing else";
        mistakes.add("domain", problem, Some(hint));
    }
    let is_here =
        is_this_machine(&name) || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    if !domain.is_secure() && !is_here && !config.insecure {
        let hint = "write https://, or, on a network that is safe, `notebook.insecure = true`";
        mistakes.add("domain", "is plain HTTP", Some(hint));
    }
    Some(domain)
}

/// Where the site is, by the first of its hosts that is one: with the scheme and the port of the
/// notebooks, which come through the same door.
fn site_origin(domain: &Domain, around: &Surroundings) -> Option<String> {
    let host = around.hosts.iter().find(|host| !host.starts_with('*'))?;
    Some(domain.origin_at(host))
}

fn embed(
    config: &Config,
    domain: Option<&Domain>,
    site_origin: Option<&str>,
    mistakes: &mut Mistakes,
) -> Vec<String> {
    let origins = match &config.embed {
        None | Some(Embed::Site(false)) => return Vec::new(),
        Some(Embed::Site(true)) => match (domain, site_origin) {
            (None, _) => Vec::new(),
            (Some(_), Some(origin)) => vec![origin.to_owned()],
            (Some(_), None) => {
                let hint = "name it: `embed = [\"https://www.example.com\"]`, or set `site.hosts`";
                mistakes.add("embed", "does not say where the site is", Some(hint));
                Vec::new()
            }
        },
        Some(Embed::Origins(written)) => {
            let read = |text: &String| {
                let origin = Origin::parse(text.as_bytes()).map(|origin| origin.to_string());
                if origin.is_none() {
                    let problem = format!("{text:?} is no origin");
                    let hint = "for example `https://www.example.com`";
                    mistakes.add("embed", problem, Some(hint));
                }
                origin
            };
            written.iter().filter_map(read).collect()
        }
    };
    std::iter::once(OWN.to_owned()).chain(origins).collect()
}

fn networks(written: &[String], mistakes: &mut Mistakes) -> Vec<(IpAddr, u8)> {
    let read = |text: &String| {
        let network = network(text);
        if network.is_none() {
            let problem = format!("{text:?} is no address and no network");
            mistakes.add("allow-from", problem, Some("write \"127.0.0.1\" or \"10.0.0.0/8\""));
        }
        network
    };
    written.iter().filter_map(read).collect()
}
