//! A hub behind a gateway and nothing else, for tests that kill it: the site is elsewhere, and the
//! control API has a Unix socket without a secret.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test reads it")]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use perijove_gateway::{
    Gateway, ListenAddress, Listener, Plan, Protocol, Route, Routes, Target, Upstream,
    UpstreamAddress, UpstreamSettings, Upstreams,
};
use perijove_hub::{Config, Hub, Surroundings};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// What a test wants, as its only argument.
#[derive(Deserialize)]
struct Wanted {
    folder: PathBuf,
    listen: SocketAddr,
    site: String,
    python: PathBuf,
    package: PathBuf,
    notebook: Config,
    #[serde(default)]
    trusted_proxies: bool,
    /// Instead of this program.
    guardian: Option<PathBuf>,
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "guardian" {
        return perijove_process::guardian::run();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(wanted)) = (runtime, serde_json::from_str(&argument)) else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(serve(wanted)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

async fn serve(wanted: Wanted) -> Option<()> {
    let site = Upstreams::new(UpstreamSettings::default());
    site.add(Upstream {
        address: UpstreamAddress::Tcp(wanted.site),
        protocol: Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    let routes = Routes::new();
    let to_site = Target::Proxy { files: Arc::new([]), upstreams: site.clone() };
    routes.insert(None, "/", Route::new(to_site));
    let surroundings = Surroundings {
        is_alone: false,
        hosts: Vec::new(),
        has_site: true,
        base: wanted.folder.clone(),
        state_folder: wanted.folder.join("state"),
        runtime_folder: wanted.folder.join("run"),
        python: Some(wanted.python),
        package: wanted.package,
        guardian: match wanted.guardian {
            Some(guardian) => guardian,
            None => std::env::current_exe().ok()?,
        },
    };
    let plan = told(wanted.notebook.resolve(&surroundings).map_err(|m| format!("{m:?}")))?;
    let hub = told(Hub::open(plan, routes.clone(), Some(site)).await)?;
    let control = Routes::new();
    control.insert(None, "/", Route::new(Target::Service(hub.service())));
    let path = wanted.folder.join("control.sock");
    std::fs::remove_file(&path).ok();
    let trusted_proxies =
        if wanted.trusted_proxies { vec![([127, 0, 0, 1].into(), 32)] } else { Vec::new() };
    let gateway = told(Gateway::bind(Plan {
        listeners: vec![
            Listener::new(ListenAddress::Tcp(wanted.listen), routes),
            Listener::new(ListenAddress::Unix { path, mode: 0o600 }, control),
        ],
        trusted_proxies,
        ..Plan::default()
    }))?;
    told(gateway.addresses().first().ok_or("no address").map(|address| println!("{address}")))?;
    let stop = CancellationToken::new();
    tokio::join!(hub.run(stop.clone()), gateway.run(stop.clone(), stop));
    Some(())
}

/// Says on standard error why nothing comes of it.
fn told<T, E: std::fmt::Debug>(result: Result<T, E>) -> Option<T> {
    result.inspect_err(|error| eprintln!("{error:?}")).ok()
}
