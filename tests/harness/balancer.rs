//! A load balancer without any affinity: each request, and each upgrade, goes to the next server.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running load balancer. It ends with this value.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    servers: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
    client: Client<HttpConnector, Incoming>,
}

type Body = Either<Incoming, Empty<Bytes>>;

impl Balancer {
    /// Starts one before `servers`.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub async fn start(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        // No connection is kept, so that an ended server is never asked over an old one.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(HttpConnector::new());
        let state = Arc::new(State { servers: Mutex::new(servers), next: AtomicUsize::new(0), client });
        let shared = state.clone();
        let acceptor = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| pass_on(state.clone(), request));
                tokio::spawn(
                    async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok() },
                );
            }
        });
        Self { address, state, acceptor }
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends nothing more to `server`, as when it is no longer ready. What runs already goes on.
    pub fn remove(&self, server: SocketAddr) {
        self.state.servers.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != server);
    }

    /// Requests passed on so far.
    pub fn requests(&self) -> usize {
        self.state.next.load(Ordering::Relaxed)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn pass_on(state: Arc<State>, mut request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let turn = state.next.fetch_add(1, Ordering::Relaxed);
    let server = {
        let servers = state.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers[turn % servers.len()]
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{server}{path}").parse::<Uri>().expect("a request's own path is valid");
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let Ok(mut response) = state.client.request(request).await else {
        let mut response = Response::new(Either::Right(Empty::new()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(response);
    };
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(here)) = (response.status(), upgrade) {
        let there = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(here), Ok(there)) = tokio::join!(here, there) {
                tokio::io::copy_bidirectional(&mut TokioIo::new(here), &mut TokioIo::new(there)).await.ok();
            }
        });
    }
    Ok(response.map(Either::Left))
}
