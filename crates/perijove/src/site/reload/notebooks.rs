//! Notebooks that come, go and change with a reload.

use std::sync::Arc;

use perijove_hub::Hub;

use super::Site;
use crate::{
    config::Plan,
    control::reload::Refusal,
    site::{application, failing, metrics, routes},
};

impl Site {
    /// Takes over the settings of notebooks. Where they live can change only while none runs: each
    /// was started with its address.
    pub(super) async fn renew_notebooks(&mut self, plan: &Plan) -> Result<(), Refusal> {
        let Some(hub) = self.hub.clone() else { return self.begin_notebooks(plan).await };
        if let Some(notebook) = plan.notebook.clone()
            && hub.reconfigure(notebook).is_ok()
        {
            return Ok(());
        }
        if !hub.is_idle() {
            let what = "where notebooks live can change only while none runs";
            let hint = "stop them with `perijove notebook stop --all`";
            return Err(Refusal::new(format!("{what}\nhint: {hint}")));
        }
        self.hall.close();
        hub.close().await;
        hub.clear_routes();
        hub.leave();
        self.hub = None;
        let begun = self.begin_notebooks(plan).await;
        if begun.is_err() {
            // None runs, so nothing is lost by going back.
            let before = self.plan.clone();
            self.begin_notebooks(&before).await?;
        }
        begun
    }

    /// Opens the hub of a plan, if it wants one.
    async fn begin_notebooks(&mut self, plan: &Plan) -> Result<(), Refusal> {
        if let Some(notebook) = plan.notebook.clone() {
            application::package(&self.source)?;
            metrics::name_notebooks(plan, &self.roads.site, self.meter.as_deref());
            let upstreams = routes::used(&plan.site, &self.upstreams).cloned();
            let hub = Hub::open(notebook, self.roads.site.clone(), upstreams).await;
            self.hub = Some(Arc::new(hub.map_err(failing::hub)?));
            self.run_hub();
        }
        self.hall.open(self.hub.as_ref().map(|hub| hub.service()));
        Ok(())
    }
}
