//! socketioxide, configured for what Carillon promises.

use std::{sync::Arc, time::Duration};

use carillon_tenant::Quotas;
use engineioxide::service::NotFoundService;
use socketioxide::{ParserConfig, SocketIo, TransportType, service::SocketIoService};

use crate::{core::Core, fan_out::QUEUE_PACKETS_MAX, handler::Handler, handshake::Connect, heartbeat::Heartbeat};

/// Where the engine answers.
pub const ENGINE_PATH: &str = "/socket.io";

/// The engine as a service.
pub type EngineService = SocketIoService<NotFoundService>;

/// Attachments of one message.
const ATTACHMENTS_MAX: usize = 16;
/// How long an upgrade from long-polling may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger than the largest message by what stands around it, in bytes.
pub const FRAME_BYTES_MAX: usize = Quotas::BYTES_MAX as usize + 4096;
/// What the WebSocket reads at once. It is kept for the whole connection; more is read from the kernel and waits in the
/// [`Wire`](crate::transport::Wire).
const READ_BUFFER_BYTES: usize = 128;

/// Between two heartbeats of the engine's own, of which there is to be none: see [`heartbeat`](crate::heartbeat).
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Starts the engine with its only namespace, `/`.
pub fn start(core: &Arc<Core>, heartbeat: &Heartbeat) -> (EngineService, SocketIo) {
    let parser = ParserConfig::common().max_incoming_binaries(ATTACHMENTS_MAX).max_incoming_binary_buf_size(FRAME_BYTES_MAX);
    // Each transport has a limit of its own; a WebSocket ignores `max_payload`.
    let (service, io) = SocketIo::builder()
        .req_path(ENGINE_PATH)
        .transports([TransportType::Polling, TransportType::Websocket])
        .ping_interval(NEVER)
        .ping_timeout(NEVER)
        .connect_timeout(heartbeat.connect_timeout)
        .upgrade_timeout(UPGRADE_TIMEOUT)
        .max_payload(FRAME_BYTES_MAX as u64)
        .ws_max_message_size(FRAME_BYTES_MAX)
        .ws_max_frame_size(FRAME_BYTES_MAX)
        .ws_read_buffer_size(READ_BUFFER_BYTES)
        .max_buffer_size(QUEUE_PACKETS_MAX)
        .with_parser(parser)
        .build_svc();
    io.ns::<_, Handler>("/", Connect(core.clone()));
    (service, io)
}
