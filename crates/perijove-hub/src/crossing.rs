//! What stands at the site's own addresses of notebooks when these have a domain to themselves: whom the
//! site lets pass gets a ticket to the same path there.

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{Response, Service, ServiceRequest};

use crate::{audit, core::Core, pages, ticket::Tickets, user::User, vouch::Vouch};

/// Leads those who were let pass to the domain of notebooks.
#[derive(Debug)]
pub(crate) struct Crossing {
    core: Arc<Core>,
    tickets: Tickets,
}

impl Crossing {
    pub(crate) fn new(core: Arc<Core>, tickets: Tickets) -> Self {
        Self { core, tickets }
    }

    async fn answer(&self, request: ServiceRequest) -> Response {
        let (head, client) = (&request.head, &request.client);
        let plan = self.core.plan.load_full();
        let user = request.subject.as_deref().and_then(|name| User::new(name).ok());
        let (Some(user), Some(domain)) = (user, &plan.domain) else { return pages::not_here(head) };
        // Scripts and websockets cannot be led on: what they ask for is not here.
        if head.method() != "GET" || !pages::wants_page(head) {
            return pages::elsewhere(head, &domain.origin_of(&user));
        }
        let Some(vouch) = Vouch::of(head, client) else { return pages::too_much_told(head) };
        let target = String::from_utf8_lossy(head.target()).into_owned();
        let Some(address) = self.tickets.issue(&user, &target, Some(vouch)).await else {
            return pages::no_word(head);
        };
        audit::note(audit::Deed::Ticket, &user, pages::from(client), "");
        let mut answer = Response::redirect(303, &address);
        answer.fields.push("Cache-Control", "no-store");
        answer.fields.push("Referrer-Policy", "no-referrer");
        answer
    }
}

impl Service for Crossing {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(self.answer(request))
    }
}
