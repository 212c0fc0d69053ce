//! A gateway under test.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};

use perijove_gateway::{
    Gateway, ListenAddress, Listener, Plan, Response, Route, Routes, Service, ServiceRequest,
    Target,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::wire::{Wire, soon};

/// What the gateway is to be.
pub(crate) struct Site {
    pub(crate) plan: Plan,
    routes: Routes,
    address: ListenAddress,
}

impl Site {
    pub(crate) fn new() -> Self {
        let address = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        Self { plan: Plan::default(), routes: Routes::new(), address }
    }

    pub(crate) fn route(self, prefix: &str, route: Route) -> Self {
        self.routes.insert(None, prefix, route);
        self
    }

    /// A service that says its text.
    pub(crate) fn says(self, prefix: &str, text: &'static str) -> Self {
        self.route(prefix, service(move |_| Response::new(200, "text/plain", text)))
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }

    pub(crate) fn at(mut self, address: ListenAddress) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn start(self) -> Running {
        self.start_with(|_| {})
    }

    pub(crate) fn start_with(self, change: impl FnOnce(&mut Listener)) -> Running {
        let Self { mut plan, routes, address } = self;
        let mut listener = Listener::new(address, routes.clone());
        change(&mut listener);
        plan.listeners.insert(0, listener);
        let gateway = Gateway::bind(plan).unwrap();
        let addresses = gateway.addresses();
        let (stop, now) = (CancellationToken::new(), CancellationToken::new());
        let ending = tokio::spawn(gateway.run(stop.clone(), now.clone()));
        Running { addresses, routes, stop, now, ending }
    }
}

/// A gateway that runs, and ends with this.
pub(crate) struct Running {
    pub(crate) addresses: Vec<String>,
    pub(crate) routes: Routes,
    pub(crate) stop: CancellationToken,
    pub(crate) now: CancellationToken,
    ending: JoinHandle<()>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0].split_once("://").unwrap().1.parse().unwrap()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.addresses[0].strip_prefix("unix:").unwrap().into()
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::new(self.socket().await)
    }

    pub(crate) async fn socket(&self) -> TcpStream {
        soon("a connection", TcpStream::connect(self.address())).await.unwrap()
    }

    /// Waits until the gateway has ended.
    pub(crate) async fn ended(&mut self) {
        soon("the end", &mut self.ending).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.now.cancel();
    }
}

/// A route that answers in this process.
pub(crate) fn service(
    answer: impl Fn(ServiceRequest) -> Response + Send + Sync + 'static,
) -> Route {
    Route::new(Target::Service(Arc::new(Answering(Box::new(answer)))))
}

type AnswerFunction = Box<dyn Fn(ServiceRequest) -> Response + Send + Sync>;

struct Answering(AnswerFunction);

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answering")
    }
}

impl Service for Answering {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(async move { (self.0)(request) })
    }
}
