//! Accepts connections on the public port.

use std::{sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{front::Front, heartbeat::Pulse, line::Line, transport::Wire, turnstile::Turnstile};

/// How long a client may take for a request's head, and how long a connection stays open between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest request head, in bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Pause after the operating system could not hand out a connection, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `stop`. Bytes that a peer does not acknowledge for as long as it may take to answer a ping end the connection: the
/// engine alone would wait for a client that stopped reading for as long as its TCP lives.
pub async fn serve(listener: TcpListener, front: Arc<Front>, pulse: Arc<Pulse>, turnstile: Turnstile, stop: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES_MAX);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        turnstile.pass().await;
        stream.set_nodelay(true).ok();
        SockRef::from(&stream).set_tcp_user_timeout(Some(pulse.heartbeat().timeout)).ok();
        let line = Line::new(stream, pulse.clone());
        let (wire, line) = (Wire::new(line.clone(), turnstile.clone()), Arc::downgrade(&line));
        let front = front.clone();
        let service = service_fn(move |request| front.clone().handle(request, line.clone()));
        let connection = http.serve_connection(TokioIo::new(wire), service).with_upgrades();
        tokio::spawn(async move { connection.await.ok() });
    }
}
