//! Accepts connections on the public port.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::{front::Front, heartbeat::Pulse, line::Line, transport::Wire, turnstile::Turnstile};

/// How long a client may take for a request's head, and how long a connection stays open between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest request head, in bytes.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Pause after the operating system could not hand out a connection, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that may wait to be accepted. Beyond it the operating system drops what a client sends to open one, and the client tries again
/// after a second, then after two more. Linux bounds it further with `net.core.somaxconn`, which is 4096 too unless somebody set it.
const ACCEPT_QUEUE_MAX: u32 = 4096;

/// Takes the port, with room for thousands who come at once: tokio's own listener would hold 128.
///
/// # Errors
///
/// When the port can't be had.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As tokio's does: the port can be had again at once after its last owner is gone.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE_MAX)
}

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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn hundreds_who_come_at_once_wait_in_the_queue() {
        // Sooner than the system tries again for a client whose first packet was dropped.
        const PATIENCE: Duration = Duration::from_millis(900);
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connected: Vec<_> = (0..500).map_while(|_| TcpStream::connect_timeout(&address, PATIENCE).ok()).collect();
        assert_eq!(connected.len(), 500);
    }
}
