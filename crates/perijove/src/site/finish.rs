//! What is done to answers before they leave, as the gateway wants it.

use std::sync::Arc;

use perijove_gateway::{ErrorDocuments, ExtraFields, FileMemory, Finish, SendFiles};

use crate::config::plan::{FinishPlan, SitePlan};

/// Of the site's own answers.
pub(super) fn of_site(site: &SitePlan, memory: &FileMemory) -> Option<Arc<Finish>> {
    let internal = site.files.iter().filter(|files| files.is_internal);
    let internal: Vec<_> = internal.map(|files| files.open(memory)).collect();
    let sends = !internal.is_empty() || !site.finish.sendfile.is_empty();
    let SitePlan { finish, .. } = site;
    let files =
        sends.then(|| SendFiles::new(&finish.sendfile, internal, memory, finish.compresses));
    of_plan(&site.finish, files)
}

/// Of a further path; none where nothing is done.
pub(super) fn of_plan(plan: &FinishPlan, files: Option<SendFiles>) -> Option<Arc<Finish>> {
    let has_documents = plan.overrides || !plan.documents.is_empty();
    let documents =
        has_documents.then(|| ErrorDocuments::new(plan.documents.clone(), plan.overrides));
    let finish = Finish {
        compresses: plan.compresses,
        fields: ExtraFields(plan.fields.clone()),
        documents,
        files,
    };
    let does_something = finish.compresses
        || !finish.fields.0.is_empty()
        || finish.documents.is_some()
        || finish.files.is_some();
    does_something.then(|| Arc::new(finish))
}
