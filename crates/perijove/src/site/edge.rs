//! What the gateway is told of a plan: listeners, certificates, logs.

use std::{fs, num::NonZero, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use perijove_gateway::{
    AccessLog, Gateway, HeadLimits, ListenAddress, Listener, Meter, Routes, Tls, Tracer,
};

use super::{descriptors, failing};
use crate::{
    config::{
        Plan,
        layers::Environment,
        plan::{ListenAt, log},
    },
    failure::{Failure, Kind},
    handover::taking::Inheritance,
    system,
};

/// Whoever may reach the folder of the socket may use it, as a server in front that runs as another
/// account must.
const PUBLIC_SOCKET: u32 = 0o666;

/// For this account alone.
const CONTROL_SOCKET: u32 = 0o600;

/// Reads the certificates, if there are any.
pub(super) fn certificates(plan: &Plan) -> Result<Option<Arc<Tls>>, Failure> {
    let Some(tls) = &plan.tls else { return Ok(None) };
    let tls = Tls::load(tls.settings.clone())
        .map_err(|error| Failure::new(Kind::Configuration, error))?;
    Ok(Some(Arc::new(tls)))
}

pub(super) fn access_log(plan: &Plan) -> Result<Option<AccessLog>, Failure> {
    let format =
        log::access_format(&plan.log).map_err(|error| Failure::new(Kind::Configuration, error))?;
    let Some(format) = format else { return Ok(None) };
    let log = match &plan.log_files.access {
        Some(file) => AccessLog::to_file(format, file, log::rotation(&plan.log))
            .map_err(|error| failing::file(file, error))?,
        None => AccessLog::to_stderr(format).map_err(|error| Failure::new(Kind::Other, error))?,
    };
    Ok(Some(log))
}

/// Where requests of each kind of listener go: the same whatever the plan.
#[derive(Debug, Default)]
pub(super) struct Roads {
    pub(super) site: Routes,
    pub(super) control: Routes,
    pub(super) redirecting: Routes,
    pub(super) metrics: Routes,
}

/// Sockets that are open already.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Each by its listener's name, until it is taken.
    handed: Vec<(String, ListenAddress)>,
    /// Names of listeners that a service manager has bound: they stand for `listen`.
    given: Vec<String>,
    /// Files of Unix sockets of the process before that are wanted no more. Until that one has let
    /// go of them they are its own.
    unwanted: Vec<PathBuf>,
}

/// How names of listeners begin that a service manager has bound.
const GIVEN: &str = "inherited ";

impl Sockets {
    /// Those of the process before, and of a service manager. To be called once, before anything
    /// else opens a descriptor.
    pub(super) fn find(environment: &Environment, inheritance: Option<&mut Inheritance>) -> Self {
        let mut handed = inheritance.map(Inheritance::listeners).unwrap_or_default();
        let given = inherited(environment).into_iter().enumerate();
        handed.extend(given.map(|(number, descriptor)| {
            (format!("{GIVEN}{number}"), ListenAddress::Inherited(descriptor))
        }));
        let names = handed.iter().map(|(name, _)| name);
        let given = names.filter(|name| name.starts_with(GIVEN)).cloned().collect();
        Self { handed, given, unwanted: Vec::new() }
    }

    /// Puts sockets that are open in the place of addresses.
    fn give(&mut self, listeners: &mut [Listener]) {
        for listener in listeners {
            let found = self.handed.iter().position(|(name, _)| *name == listener.name);
            if let Some(at) = found {
                listener.address = self.handed.remove(at).1;
            }
        }
        // What is left nobody wants any more.
        let files = self.handed.drain(..).filter_map(|(_, address)| match address {
            ListenAddress::Handed { file, .. } => file,
            _ => None,
        });
        self.unwanted.extend(files);
    }

    /// Removes the files of sockets that the process before has left and nobody wants.
    pub(super) fn remove_unwanted(&mut self) {
        for file in self.unwanted.drain(..) {
            // One that stays says to whoever connects that nobody listens.
            fs::remove_file(file).ok();
        }
    }
}

/// What is needed to open the listeners.
pub(super) struct Open<'a> {
    pub(super) plan: &'a Plan,
    pub(super) roads: &'a Roads,
    pub(super) tls: Option<&'a Tls>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) meter: Option<Arc<Meter>>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

impl Open<'_> {
    /// Opens every listener.
    pub(super) fn bind(&self, sockets: &mut Sockets) -> Result<Gateway, Failure> {
        Gateway::bind(self.gateway(sockets)).map_err(failing::bind)
    }

    /// What the gateway is to do. The control socket is the last of its listeners.
    pub(super) fn gateway(&self, sockets: &mut Sockets) -> perijove_gateway::Plan {
        let plan = self.plan;
        let limits = &plan.limits;
        let head_bytes = usize::try_from(limits.head.0).unwrap_or(usize::MAX);
        perijove_gateway::Plan {
            listeners: self.listeners(sockets),
            threads: plan.threads,
            head: HeadLimits { bytes: head_bytes, fields: limits.head_fields },
            head_time: limits.head_time.0,
            idle_time: limits.idle_time.0,
            transfer_time: limits.transfer_time.0,
            half_closed_time: limits.half_closed_time.0,
            body_rate: limits.body_rate.0,
            answer_rate: limits.answer_rate.0,
            connections: descriptors::allow(limits.connections),
            connections_per_client: NonZero::new(limits.connections_per_client).map(NonZero::get),
            backlog: i32::try_from(limits.backlog).unwrap_or(i32::MAX),
            drain_time: limits.drain_time.0,
            trusted_proxies: plan.trusted_proxies.clone(),
            trusts_unix_peers: plan.trusts_unix_peers,
            tells_of_tls: plan.tls.as_ref().is_some_and(|tls| tls.has_environment),
            error_pages: plan.site.error_pages.clone(),
            access_log: self.access_log.clone(),
            slow: Some(plan.log.slow.0).filter(|slow| !slow.is_zero()),
            meter: self.meter.clone(),
            tracer: self.tracer.clone(),
        }
    }

    fn listeners(&self, sockets: &mut Sockets) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = if sockets.given.is_empty() {
            self.plan.listen.iter().map(|address| self.public(address)).collect()
        } else {
            let open = |name: &String| Listener {
                name: name.clone(),
                ..self.listener(ListenAddress::Open, true)
            };
            sockets.given.iter().map(open).collect()
        };
        listeners.extend(self.redirecting());
        listeners.extend(self.metrics());
        let path = self.plan.folders.control_socket();
        let address = ListenAddress::Unix { path, mode: CONTROL_SOCKET };
        let mut control = Listener::new(address, self.roads.control.clone());
        control.is_logged = false;
        control.is_traced = false;
        listeners.push(control);
        sockets.give(&mut listeners);
        listeners
    }

    /// For those who watch: neither logged nor traced, and never by TLS.
    fn metrics(&self) -> Option<Listener> {
        let address = match self.plan.metrics.as_ref()? {
            ListenAt::Tcp(address) => ListenAddress::Tcp(*address),
            ListenAt::Unix(path) => {
                ListenAddress::Unix { path: path.clone(), mode: CONTROL_SOCKET }
            }
        };
        let mut listener = Listener::new(address, self.roads.metrics.clone());
        listener.name = format!("metrics at {}", listener.name);
        listener.is_logged = false;
        listener.is_traced = false;
        Some(listener)
    }

    fn public(&self, address: &ListenAt) -> Listener {
        match address {
            ListenAt::Tcp(address) => self.listener(ListenAddress::Tcp(*address), true),
            ListenAt::Unix(path) => {
                let address = ListenAddress::Unix { path: path.clone(), mode: PUBLIC_SOCKET };
                // Whoever stands in front on this machine ends TLS.
                self.listener(address, false)
            }
        }
    }

    fn listener(&self, address: ListenAddress, may_be_tls: bool) -> Listener {
        let mut listener = Listener::new(address, self.roads.site.clone());
        if let Some(tls) = self.tls.filter(|_| may_be_tls) {
            listener.tls = Some(tls.config());
            let plan = self.plan.tls.as_ref();
            listener.strict_transport = plan.and_then(|tls| tls.strict_transport.clone());
        }
        listener
    }

    fn redirecting(&self) -> Vec<Listener> {
        let Some(tls) = &self.plan.tls else { return Vec::new() };
        let open = |address: &ListenAt| {
            let address = match address {
                ListenAt::Tcp(address) => ListenAddress::Tcp(*address),
                ListenAt::Unix(path) => {
                    ListenAddress::Unix { path: path.clone(), mode: PUBLIC_SOCKET }
                }
            };
            let mut listener = Listener::new(address, self.roads.redirecting.clone());
            // Where the system chooses the port, the address does not tell it from others.
            listener.name = format!("redirect from {}", listener.name);
            listener
        };
        tls.redirect_from.iter().map(open).collect()
    }
}

/// Sockets that a service manager hands over.
fn inherited(environment: &Environment) -> Vec<OwnedFd> {
    let number = |name| environment.get(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").and_then(|count| u16::try_from(count).ok());
    system::take_inherited(count.unwrap_or_default())
}

/// The addresses of all listeners, sorted: those of the site, and that of the metrics. The control
/// socket is known to who may use it.
pub(super) fn told(plan: &Plan, mut addresses: Vec<String>) -> (Vec<String>, Option<String>) {
    addresses.pop();
    let metrics = plan.metrics.as_ref().and_then(|_| addresses.pop());
    (addresses, metrics)
}
