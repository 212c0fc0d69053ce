//! The application of the site: from its plan to its workers.

use std::{path::PathBuf, sync::Arc};

use perijove_apps::{App, Driver};
use perijove_gateway::Upstreams;
use tokio_util::task::TaskTracker;

use super::{Source, failing};
use crate::{
    config::{
        Plan,
        plan::{self, SiteTarget},
    },
    failure::{Failure, Kind},
};

/// Starts the application, if the site has one, and returns when it takes requests.
pub(super) async fn start(
    source: &Source,
    plan: &Plan,
    upstreams: Option<&Arc<Upstreams>>,
    tracker: &TaskTracker,
) -> Result<Option<App>, Failure> {
    let (Some(wanted), Some(upstreams)) = (wanted(source, plan)?, upstreams) else {
        return Ok(None);
    };
    let name = wanted.application.to_string();
    tracing::info!(application = name, workers = wanted.workers, "starting");
    let app = App::start(wanted, upstreams.clone(), tracker).await;
    app.map(Some).map_err(failing::application)
}

/// The Python package that belongs to this program.
pub(super) fn package(source: &Source) -> Result<PathBuf, Failure> {
    plan::package(&source.environment).map_err(|error| {
        let hint = error.hint();
        Failure::new(Kind::Unavailable, error).hint(hint)
    })
}

/// What the workers are to be like; none when the site has no application.
pub(super) fn wanted(source: &Source, plan: &Plan) -> Result<Option<perijove_apps::Plan>, Failure> {
    let SiteTarget::Application(application) = &plan.site.target else { return Ok(None) };
    let package = package(source)?;
    let control = plan.folders.control_socket();
    Ok(Some(perijove_apps::Plan {
        application: application.name.clone(),
        root: plan.site.root.clone(),
        python: application.python.clone(),
        package,
        driver: Driver::Native,
        workers: application.workers,
        threads: application.threads,
        environment: perijove_apps::of_workers(source.environment.pairs(), Some(&control)),
        sockets: plan.folders.runtime.join("app"),
        health: application.health.clone(),
        start_time: application.start_time,
        drain_time: plan.limits.drain_time.0,
    }))
}
