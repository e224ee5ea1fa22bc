//! From a CONNECT packet to an open session, or to the one line a refused client is told.

use std::{
    fmt::Display,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
};

use carillon_tenant::{Code, ConnectionId, OriginPolicy, Refusal, TenantConfig, UserId};
use serde::Deserialize;
use socketioxide::{
    adapter::LocalAdapter,
    handler::{ConnectHandler, DisconnectHandler, Value},
    socket::{DisconnectReason, Socket},
};

use crate::{
    commands::Commands,
    core::Core,
    fan_out::{Outlet, Tenant, unix_time},
    grant::Grant,
    handler::Handler,
    jwt::{Identity, UnverifiedToken},
    line::Fault,
    session::Session,
    transport::Transport,
};

type EngineSocket = Arc<Socket<LocalAdapter>>;
type MiddlewareResult<'a> = Pin<Box<dyn Future<Output = Result<(), Box<dyn Display + Send>>> + Send + 'a>>;

/// The engine's handler of CONNECT.
#[derive(Clone)]
pub struct Connect(pub Arc<Core>);

#[derive(Deserialize)]
struct Auth<'a> {
    #[serde(borrow, default)]
    token: Option<std::borrow::Cow<'a, str>>,
}

impl ConnectHandler<LocalAdapter, Handler> for Connect {
    /// Runs before the CONNECT reply. The handlers of everything that follows are registered here: an event that comes right after
    /// the reply must find them.
    fn call_middleware<'a>(&'a self, socket: EngineSocket, auth: &'a Option<Value>) -> MiddlewareResult<'a> {
        Box::pin(async move {
            self.0.turnstile.pass().await;
            let Some(transport) = transport_of(&socket) else { return Err(refused(Code::NotProgrammed)) };
            match open(&self.0, &socket, &transport, auth.as_ref()).await {
                Ok(session) => {
                    socket.on_fallback::<_, Handler>(Commands(session.clone()));
                    socket.on_disconnect::<_, Handler>(Gone { session: session.clone(), transport: transport.clone() });
                    *transport.session.lock().expect("no panic under this lock") = Arc::downgrade(&session);
                    // Before the reply: whatever is published once the client has it reaches the client.
                    session.enter();
                    Ok(())
                }
                Err(code) => {
                    if matches!(code, Code::Draining | Code::NotProgrammed) || self.0.config.may_be_wrong_about(code) {
                        // Clients don't try again by themselves when a CONNECT is refused; they do when the transport ends.
                        transport.cut();
                    } else {
                        // The client is told and goes; one that stays is cut, for the engine would wait for its time-out.
                        Transport::cut_soon(&transport);
                    }
                    Err(refused(code))
                }
            }
        })
    }

    /// Runs right after the CONNECT reply was queued, on the same task.
    fn call(&self, socket: EngineSocket, _: Option<Value>) {
        let Some(transport) = transport_of(&socket) else { return };
        let session = transport.session.lock().expect("no panic under this lock").upgrade();
        if let Some(session) = session {
            session.open();
            tracing::info!(tenant = %session.tenant.id, user = %session.user, connection = %session.id, "connected");
            // A push that came before the session was entered did not find it to close it.
            match barred(&self.0, &session.tenant, &session.user, &session.grant()) {
                // It went to another fleet: the client is to look again.
                Some(Code::NotProgrammed) => _ = session.outlet.cut(),
                Some(code) => session.end(code),
                None => {}
            }
        }
    }
}

fn refused(code: Code) -> Box<dyn Display + Send> {
    Box::new(code.connect_error())
}

fn transport_of(socket: &Socket<LocalAdapter>) -> Option<Arc<Transport>> {
    socket.req_parts().extensions.get::<Arc<Transport>>().cloned()
}

async fn open(core: &Arc<Core>, socket: &EngineSocket, transport: &Arc<Transport>, auth: Option<&Value>) -> Result<Arc<Session>, Code> {
    let (tenant, identity) = match authenticate(core, transport, auth) {
        Ok(authenticated) => authenticated,
        Err((code, tenant)) => {
            core.metrics.connect(tenant.as_ref().map(|tenant| &tenant.metrics), Err(code));
            tracing::info!(tenant = tenant.as_ref().map(|tenant| tenant.id.as_str()), %code, "connect refused");
            return Err(code);
        }
    };
    let admitted = admit(core, &tenant, &identity).await;
    core.metrics.connect(Some(&tenant.metrics), admitted.as_ref().map(drop).map_err(|refusal| refusal.code));
    match admitted {
        Ok(admission) => {
            if identity.retiring {
                core.metrics.connect_by_retiring_key(&tenant.metrics);
            }
            let connection = ConnectionId(rand::random());
            let outlet = Outlet::new(connection, socket, transport.clone());
            Ok(Session::new(connection, tenant, identity, outlet, admission))
        }
        Err(refusal) => {
            tracing::info!(tenant = %tenant.id, user = %identity.user, code = %refusal.code, limit = refusal.limit, "connect refused");
            Err(refusal.code)
        }
    }
}

async fn admit(core: &Core, tenant: &Arc<Tenant>, identity: &Identity) -> Result<crate::fan_out::Admission, Refusal> {
    if core.draining() {
        return Err(Code::Draining.into());
    }
    let config = tenant.config().clone();
    if config.suspended {
        return Err(Code::TenantSuspended.into());
    }
    let admission = tenant.admit(&config, &identity.user).await?;
    // That took its time.
    match barred(core, tenant, &identity.user, &identity.grant) {
        Some(code) => Err(code.into()),
        None => Ok(admission),
    }
}

/// Why `user` may no longer be connected to `tenant` by that grant.
fn barred(core: &Core, tenant: &Arc<Tenant>, user: &UserId, grant: &Grant) -> Option<Code> {
    let view = core.config.view();
    if !view.tenant(tenant.id.as_str()).is_some_and(|current| Arc::ptr_eq(current, tenant)) {
        return Some(view.missing(tenant.id.as_str()));
    }
    drop(view);
    grant.refused_by(&tenant.config(), user)
}

type Unauthenticated = (Code, Option<Arc<Tenant>>);

fn authenticate(core: &Core, transport: &Transport, auth: Option<&Value>) -> Result<(Arc<Tenant>, Identity), Unauthenticated> {
    let view = core.config.view();
    if view.settings.is_none() {
        return Err((Code::NotProgrammed, None));
    }
    let auth: Auth<'_> = match auth.and_then(Value::as_str) {
        Some(text) => serde_json::from_str(text).map_err(|_| (Code::TokenMissing, None))?,
        None => return Err((Code::TokenMissing, None)),
    };
    let token = auth.token.ok_or((Code::TokenMissing, None))?;
    let token = UnverifiedToken::parse(&token).map_err(|code| (code, None))?;
    let tenant = core.tenant_of(&view, &token).map_err(|code| (code, None))?;
    let config = tenant.config();
    let refuse = |code| (code, Some(tenant.clone()));
    if !origin_allowed(core, &config, transport) {
        return Err(refuse(Code::OriginRefused));
    }
    let identity = tenant.verify(&token, &config, unix_time()).map_err(refuse)?;
    drop(config);
    Ok((tenant, identity))
}

/// A request without `Origin` comes from no browser page of another site. A tenant that names its origins means exactly these.
fn origin_allowed(core: &Core, config: &TenantConfig, transport: &Transport) -> bool {
    let Some(origin) = &transport.origin else { return true };
    match &config.origins {
        Some(policy) => policy.allows(origin),
        None => transport.same_origin || OriginPolicy::allows(core.config.frontend(), origin),
    }
}

struct Gone {
    session: Arc<Session>,
    transport: Arc<Transport>,
}

impl Drop for Gone {
    /// Of a client that goes during its handshake nobody is told: its socket just ends, and this with it.
    fn drop(&mut self) {
        self.session.close();
    }
}

impl DisconnectHandler<LocalAdapter, Handler> for Gone {
    fn call_with_defer(&self, socket: EngineSocket, reason: DisconnectReason, defer: fn(EngineSocket)) {
        let Self { session, transport } = self;
        if session.close() {
            let seconds = session.age().as_secs();
            // The engine sees only that the stream has ended.
            let silent = session.outlet.fault() == Some(Fault::Silent);
            let reason = if silent { DisconnectReason::HeartbeatTimeout } else { reason };
            tracing::info!(tenant = %session.tenant.id, user = %session.user, connection = %session.id, ?reason, seconds, "disconnected");
        }
        let mut current = transport.session.lock().expect("no panic under this lock");
        if current.upgrade().is_some_and(|current| current.id == session.id) {
            *current = Weak::new();
        }
        drop(current);
        defer(socket);
    }
}
