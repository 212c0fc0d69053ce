//! `perijove check`.

use std::process::ExitCode;

use clap::Args;
use perijove_gateway::Tls;

use super::ConfigArguments;
use crate::{Failure, config::Plan};

/// Tell whether the configuration is right, and what it means
///
/// Nothing is started and nothing is changed. All mistakes are told at once.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print what the configuration means
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (environment, folder) = super::surroundings()?;
    let plan = Plan::load(&arguments.config.flags(), &environment, &folder)?;
    // What is right may still be weak.
    for weakness in plan.notebook.iter().flat_map(perijove_hub::weaknesses) {
        super::warn(&weakness);
    }
    if let Some(remark) = certificate(&plan) {
        super::warn(&remark);
    }
    if arguments.explain {
        return super::print(&plan.explain());
    }
    super::print("the configuration is right\n")
}

/// Whether browsers would take the certificates for the notebooks' domain.
fn certificate(plan: &Plan) -> Option<String> {
    let domain = plan.notebook.as_ref()?.domain.as_ref()?;
    let tls = Tls::load(plan.tls.as_ref()?.settings.clone()).ok()?;
    let host = domain.some_host();
    if !domain.is_secure() {
        return Some(format!(
            "`notebook.domain` is {domain}, but all that is listened on is HTTPS; \
             hint: write it with https://"
        ));
    }
    let is_covered = tls.is_for(&host).unwrap_or(true);
    let name = if domain.has_host_for_each() { format!("*.{}", domain.name()) } else { host };
    (!is_covered).then(|| {
        format!(
            "no certificate is for {name}, where notebooks are: browsers refuse it; \
             hint: name one in `tls.certificate` or `tls.further`"
        )
    })
}
