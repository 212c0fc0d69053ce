//! What a configuration means, in words.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use perijove_hub::{Allowance, Sandboxing, Setting, VouchedBy};

use super::{
    Period, Plan, Size,
    plan::{ListenAt, RouteTarget, SiteTarget},
};

impl Plan {
    /// What is served where and by what, then every setting that was written and where.
    pub(crate) fn explain(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _: fmt::Result = write_all(&mut text, self);
        text
    }

    /// The addresses as they are told to people.
    fn addresses(&self) -> impl Iterator<Item = String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.listen.iter().map(move |address| match address {
            ListenAt::Tcp(address) => format!("{scheme}://{address}"),
            ListenAt::Unix(_) => address.to_string(),
        })
    }
}

fn write_all(text: &mut String, plan: &Plan) -> fmt::Result {
    match &plan.file {
        Some(file) => writeln!(text, "configuration  {}", file.display())?,
        None => writeln!(text, "configuration  none: defaults")?,
    }
    for address in plan.addresses() {
        writeln!(text, "listens on     {address}")?;
    }
    edge(text, plan)?;
    site(text, plan)?;
    if let Some(notebook) = &plan.notebook {
        write_notebook(text, notebook)?;
    }
    if !plan.services.is_empty() {
        writeln!(text, "\nservices")?;
    }
    for service in &plan.services {
        writeln!(text, "  {:<12} {}", service.name, service.words.join(" "))?;
    }
    writeln!(text, "\nfolders")?;
    writeln!(text, "  state        {}", plan.folders.state.display())?;
    writeln!(text, "  runtime      {}", plan.folders.runtime.display())?;
    let written = plan.written.leaves();
    if !written.is_empty() {
        writeln!(text, "\nwritten")?;
    }
    for (key, entry) in written {
        // What notebooks inherit may be secret.
        let hidden = ["notebook.environment", "site.environment", "service["];
        let is_variable = key.contains(".environment.") || key.ends_with(".environment");
        if is_variable && hidden.iter().any(|below| key.starts_with(below)) {
            writeln!(text, "  {key} = (hidden)  # {}", entry.origin)?;
        } else {
            writeln!(text, "  {key} = {}  # {}", entry.value, entry.origin)?;
        }
    }
    Ok(())
}

fn edge(text: &mut String, plan: &Plan) -> fmt::Result {
    if let Some(tls) = &plan.tls {
        for certificate in &tls.settings.certificates {
            writeln!(text, "certificate    {}", certificate.certificate.display())?;
        }
        if let Some(clients) = &tls.settings.clients {
            let who = if clients.is_required { "every client" } else { "who shows one" };
            writeln!(text, "certificates   of {who}, by {}", clients.authority.display())?;
        }
        for address in &tls.redirect_from {
            writeln!(text, "redirects from http://{address}")?;
        }
    }
    if !plan.trusted_proxies.is_empty() {
        let networks: Vec<String> =
            plan.trusted_proxies.iter().map(|(ip, length)| format!("{ip}/{length}")).collect();
        writeln!(text, "believes       {}", networks.join(", "))?;
    }
    writeln!(text, "threads        {}", plan.threads)
}

fn site(text: &mut String, plan: &Plan) -> fmt::Result {
    let site = &plan.site;
    writeln!(text, "\npaths, the longest that fits wins")?;
    for route in &plan.routes {
        let host = route.host.as_deref().unwrap_or_default();
        let target = match &route.target {
            RouteTarget::Application(application) => {
                format!("the application {} with {} workers", application.name, application.workers)
            }
            RouteTarget::Service(name) => format!("the service {name}"),
            RouteTarget::Upstream(address) => address.to_string(),
            RouteTarget::Files(files) => files.place.to_string(),
            RouteTarget::Redirect { to, .. } => format!("redirected to {to}"),
        };
        writeln!(text, "  {host}{:<12} {target}", route.path)?;
    }
    for files in &site.files {
        let whose = if files.is_internal { ", for the application to send" } else { "" };
        writeln!(text, "  {:<12} {}{whose}", files.path, files.place)?;
    }
    if let Some(notebook) = &plan.notebook {
        writeln!(text, "  {:<12} notebooks", notebook.path)?;
    }
    match &site.target {
        SiteTarget::Nothing => {}
        SiteTarget::Upstream(address) => writeln!(text, "  {:<12} {address}", "/")?,
        SiteTarget::Application(_) => writeln!(text, "  {:<12} the application", "/")?,
    }
    if let SiteTarget::Application(application) = &site.target {
        writeln!(text, "\napplication")?;
        writeln!(text, "  is           {}", application.name)?;
        for why in &application.why {
            writeln!(text, "  because      {why}")?;
        }
        writeln!(text, "  folder       {}", site.root.display())?;
        writeln!(text, "  python       {}", application.python.display())?;
        writeln!(text, "  server       {}", application.driver)?;
        writeln!(text, "  workers      {}", application.workers)?;
        writeln!(text, "  threads      {} in each worker", application.threads)?;
        writeln!(text, "  waiting      at most {} for a free worker", Period(site.wait))?;
    }
    if let Some(folder) = &site.error_pages {
        writeln!(text, "  error pages  {}", folder.display())?;
    }
    Ok(())
}

fn write_notebook(text: &mut String, notebook: &perijove_hub::Plan) -> fmt::Result {
    writeln!(text, "\nnotebooks")?;
    match &notebook.folder {
        Setting::Written(folder) => writeln!(text, "  folder       {}", folder.display())?,
        Setting::Default(folder) => {
            let ini = "pyramid_notebook.notebook_folder of the site's INI";
            writeln!(text, "  folder       {ini}, else {}", folder.display())?;
        }
    }
    writeln!(text, "  python       {}", notebook.python.display())?;
    let who = match notebook.vouched_by {
        VouchedBy::Site => "the site decides",
        VouchedBy::Ticket => "whoever a site sends with a ticket",
        VouchedBy::Login => "users of `perijove user`, with their passwords",
    };
    writeln!(text, "  who passes   {who}")?;
    if let Some(domain) = &notebook.domain {
        writeln!(text, "  domain       {domain}")?;
    }
    if !notebook.embed.is_empty() {
        writeln!(text, "  in frames    of {}", notebook.embed.join(" "))?;
    }
    if !notebook.allow_from.is_empty() {
        let networks = notebook.allow_from.iter().map(|(ip, length)| format!("{ip}/{length}"));
        writeln!(text, "  come from    {}", networks.collect::<Vec<_>>().join(" "))?;
    }
    writeln!(text, "  running      at most {}", notebook.max_notebooks)?;
    let ended = |after: Duration| match after {
        Duration::ZERO => "never".to_owned(),
        after => format!("{} after the start", Period(after)),
    };
    match notebook.kill_timeout {
        Setting::Written(after) => writeln!(text, "  ended        {}", ended(after))?,
        Setting::Default(after) => {
            let ini = "pyramid_notebook.kill_timeout of the site's INI";
            writeln!(text, "  ended        {ini}, else {}", ended(after))?;
        }
    }
    writeln!(text, "  starts       {}", if notebook.warm { "warm" } else { "cold" })?;
    write_isolation(text, &notebook.isolation)?;
    match notebook.idle_timeout {
        Duration::ZERO => writeln!(text, "  unused       never ended")?,
        after => writeln!(text, "  unused       ended after {}", Period(after))?,
    }
    if notebook.kernel_idle_timeout > Duration::ZERO {
        let after = Period(notebook.kernel_idle_timeout);
        writeln!(text, "  kernels      ended after {after} without use")?;
    }
    if notebook.insecure {
        writeln!(text, "  plain HTTP   beyond this machine too")?;
    }
    Ok(())
}

/// What was written about keeping notebooks apart; what comes of it here is the machine's.
fn write_isolation(text: &mut String, isolation: &perijove_hub::Isolation) -> fmt::Result {
    let sandbox = match isolation.sandbox {
        Sandboxing::Auto => "landlock, else bubblewrap, as this machine has them",
        Sandboxing::Landlock => "landlock",
        Sandboxing::Bubblewrap => "bubblewrap",
        Sandboxing::None => "nothing but accounts",
    };
    writeln!(text, "  kept by      {sandbox}")?;
    if let Some(account) = &isolation.run_as {
        writeln!(text, "  run as       {account}")?;
    }
    for path in &isolation.share {
        writeln!(text, "  may read     {}", path.display())?;
    }
    if !isolation.network {
        writeln!(text, "  network      none")?;
    }
    let Allowance { memory, cpu, processes, files } = isolation.limits;
    if let Some(memory) = memory {
        writeln!(text, "  memory       at most {} each", Size(memory))?;
    }
    if let Some(cpu) = cpu {
        writeln!(text, "  processors   at most {}.{:03} each", cpu / 1000, cpu % 1000)?;
    }
    if let Some(processes) = processes {
        writeln!(text, "  processes    at most {processes} each")?;
    }
    if let Some(files) = files {
        writeln!(text, "  open files   at most {files} in each process")?;
    }
    Ok(())
}
