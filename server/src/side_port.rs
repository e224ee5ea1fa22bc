//! The small ports beside the public one: health over plain HTTP, the admin API over TLS. Everything here is bounded.

use std::{future, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause after the operating system could not hand out a connection, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much one port may be used.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections open at a time; more wait to be accepted.
    pub connections: usize,
    /// How long a peer may take for a request's head, and how long a connection stays open between requests.
    pub head_timeout: Duration,
}

impl Bounds {
    /// Probes and scrapes: anybody in the cluster may come, so nobody may stay for long.
    pub const HEALTH: Self = Self { connections: 256, head_timeout: Duration::from_secs(5) };
    /// The operator keeps its connection, and takes its end for the first sign of a server that goes.
    pub const ADMIN: Self = Self { connections: 64, head_timeout: Duration::from_mins(5) };
}

/// The TLS configuration in force; a new one ends the connections that were made under the old one, once they are idle.
pub type TlsConfigs = watch::Receiver<Arc<ServerConfig>>;

/// Serves `router` until `stop`, over TLS when there is a configuration for it.
pub async fn serve(listener: TcpListener, tls: Option<TlsConfigs>, bounds: Bounds, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let accepted = stop.run_until_cancelled(async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        });
        match accepted.await {
            None => return,
            Some((Ok((stream, peer)), place)) => {
                stream.set_nodelay(true).ok();
                let connection = connection(stream, peer, tls.clone(), bounds, router.clone(), stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Some((Err(error), _)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, tls: Option<TlsConfigs>, bounds: Bounds, router: Router, stop: CancellationToken) {
    let Some(mut configs) = tls else {
        return http(stream, bounds, router, stop.cancelled()).await;
    };
    let config = configs.borrow_and_update().clone();
    match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => {
            let ending = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = replaced(&mut configs) => {}
                }
            };
            http(stream, bounds, router, ending).await;
        }
        Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake refused"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn replaced(configs: &mut TlsConfigs) {
    if configs.changed().await.is_err() {
        future::pending::<()>().await;
    }
}

/// Answers the requests of one connection; after `ending` it takes no further ones.
async fn http<S>(stream: S, bounds: Bounds, router: Router, ending: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_timeout).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        _ = connection.as_mut() => true,
        () = ending => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        connection.await.ok();
    }
}
