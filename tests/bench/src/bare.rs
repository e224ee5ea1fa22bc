//! The peer `bare`: socketioxide as its documentation shows it, with nothing of Carillon.
//!
//! A stock layer on `axum::serve`, a JWT checked in a connect middleware, one room a tenant, and one HTTP route that
//! broadcasts into it. With a Redis address it uses the stock Redis adapter, so that it can be two pods, too. It is
//! what a team would write on the same engine, and so the yardstick of every ratio in the report.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Path, State as AppState},
    http::{HeaderMap, StatusCode, header},
    routing::post,
    serve::ListenerExt,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use socketioxide::{
    BroadcastError, SocketIo,
    adapter::Adapter,
    extract::{Extension, SocketRef, State, TryData},
    handler::ConnectHandler,
    layer::SocketIoLayer,
};
use socketioxide_redis::{FredAdapter, RedisAdapterCtr};

use crate::credentials::{API_KEY, SIGNING_SECRET};

/// What the bare server is told on its command line.
#[derive(clap::Args)]
pub struct ServeBare {
    /// The port on 127.0.0.1 to listen on.
    #[arg(long)]
    port: u16,
    /// How often to ping each connection.
    #[arg(long)]
    ping_interval_ms: u64,
    /// The Redis that its pods share; absent: a single pod.
    #[arg(long)]
    redis: Option<String>,
}

#[derive(Clone)]
struct Keys {
    decoding: Arc<DecodingKey>,
    validation: Arc<Validation>,
}

#[derive(Deserialize)]
struct Handshake {
    token: String,
}

#[derive(Clone, Deserialize)]
struct Claims {
    tenant_id: String,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    data: serde_json::Value,
}

/// Serves until the process is ended.
#[tokio::main]
pub async fn serve(options: ServeBare) -> Result<()> {
    let keys = Keys {
        decoding: Arc::new(DecodingKey::from_secret(SIGNING_SECRET.as_bytes())),
        validation: Arc::new(Validation::new(Algorithm::HS256)),
    };
    let builder = SocketIo::builder().ping_interval(Duration::from_millis(options.ping_interval_ms)).with_state(keys);
    match &options.redis {
        None => {
            let (layer, io) = builder.build_layer();
            io.ns("/", join_tenant.with(authenticate));
            listen(options.port, io, layer).await
        }
        Some(url) => {
            let mut config = fred::types::config::Config::from_url(url)?;
            // The adapter's sharded pub/sub shares one connection with its publishes: only RESP3 allows that.
            config.version = fred::types::RespVersion::RESP3;
            let client = fred::types::Builder::from_config(config).build_subscriber_client()?;
            let adapter = RedisAdapterCtr::new_with_fred(client).await?;
            let (layer, io) = builder.with_adapter::<FredAdapter<_>>(adapter).build_layer();
            io.ns("/", join_tenant.with(authenticate)).await?;
            listen(options.port, io, layer).await
        }
    }
}

async fn listen<A: Adapter>(port: u16, io: SocketIo<A>, layer: SocketIoLayer<A>) -> Result<()> {
    let app = Router::new().route("/v1/tenants/{tenant}/events", post(publish::<A>)).with_state(io).layer(layer);
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    // Without it every second small frame would wait for the delayed acknowledgement of the first.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app).await?)
}

async fn authenticate<A: Adapter>(
    socket: SocketRef<A>,
    TryData(handshake): TryData<Handshake>,
    State(keys): State<Keys>,
) -> Result<(), &'static str> {
    const REFUSED: &str = "Authentication error";
    let handshake = handshake.map_err(|_| REFUSED)?;
    let token = jsonwebtoken::decode::<Claims>(&handshake.token, &keys.decoding, &keys.validation);
    socket.extensions.insert(token.map_err(|_| REFUSED)?.claims);
    Ok(())
}

async fn join_tenant<A: Adapter>(socket: SocketRef<A>, Extension(claims): Extension<Claims>) {
    socket.join(room(&claims.tenant_id));
}

async fn publish<A: Adapter>(
    AppState(io): AppState<SocketIo<A>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    Json(event): Json<Event>,
) -> StatusCode {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if bearer != Some(API_KEY) {
        return StatusCode::UNAUTHORIZED;
    }
    match io.to(room(&tenant)).emit(event.event, &event.data).await {
        // Whose queue was full is told in the error; everybody else got it.
        Ok(()) | Err(BroadcastError::Socket(_)) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn room(tenant: &str) -> String {
    format!("tenant:{tenant}")
}
