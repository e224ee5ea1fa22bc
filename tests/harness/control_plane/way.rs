//! The way from the operator to one server, on which everything can happen that happens in networks: TLS ends here and begins anew, so
//! that whole requests and answers are lost, late, doubled or out of order.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, SERVER};

/// The port that pods take pushes on.
const ADMIN_PORT: u16 = 9443;

/// What happens on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Pushes arrive, and their answers don't: the connection breaks instead.
    AnswersLost,
    /// Nothing arrives, and nobody answers.
    Silence,
    /// Everything is answered so much later.
    Slow(Duration),
    /// Each push arrives twice.
    Doubled,
    /// After each push the one before it arrives once more.
    Reordered,
    /// The keys of tenants whose ids begin so arrive damaged. TLS knows no such fault; a server of another version may see one.
    Damaged(&'static str),
}

/// A way. It ends with this value.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    to: Mutex<(reqwest::Client, String)>,
    fault: Mutex<Fault>,
    before: Mutex<Option<Said>>,
    pushes: AtomicUsize,
    /// What servers answered to pushes that came once too often.
    replays: Mutex<Vec<u16>>,
}

/// A request.
#[derive(Clone, Debug)]
struct Said {
    method: Method,
    path: String,
    gzip: bool,
    body: Bytes,
}

impl Said {
    /// The same push with keys that are none, for tenants whose ids begin so.
    fn damaged(&self, tenants: &str) -> Self {
        let mut json = Vec::new();
        if self.gzip {
            GzDecoder::new(&*self.body).read_to_end(&mut json).expect("the operator compresses as it says");
        } else {
            json.extend_from_slice(&self.body);
        }
        let mut push: Value = serde_json::from_slice(&json).expect("pushes are JSON");
        for list in ["tenants", "upserts"] {
            let messages = push.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for message in messages.filter(|message| message["tenantId"].as_str().is_some_and(|id| id.starts_with(tenants))) {
                let keys = message["jwt"]["keys"].as_array_mut().into_iter().flatten();
                keys.for_each(|key| key["material"] = json!(STANDARD.encode("none")));
            }
        }
        Self { gzip: false, body: push.to_string().into(), ..self.clone() }
    }
}

/// An answer: its status and its body.
type Answer = (u16, Bytes);

#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("lost on the way")
    }
}

impl std::error::Error for Lost {}

impl Way {
    /// A way from an address that an API server takes for a pod's to the server at `admin`, whose certificates are of `authority`.
    ///
    /// # Panics
    ///
    /// Outside a network in which 10.78.0.0/16 is this machine.
    pub async fn to(admin: SocketAddr, authority: &Authority) -> Self {
        static WAYS: AtomicUsize = AtomicUsize::new(0);
        let [high, low] = u16::try_from(WAYS.fetch_add(1, Ordering::Relaxed) + 1).expect("a test has few pods").to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(10, 78, high, low), ADMIN_PORT));
        let listener = TcpListener::bind(address).await;
        let listener = listener.unwrap_or_else(|error| panic!("{address}: {error}; run these tests by `make e2e-control-plane`"));
        let shared = Arc::new(Shared {
            to: Mutex::new(authority.operator_of(admin)),
            fault: Mutex::default(),
            before: Mutex::default(),
            pushes: AtomicUsize::new(0),
            replays: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, acceptor(authority), Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets it lead to another server.
    ///
    /// # Panics
    ///
    /// After a panic.
    pub fn lead_to(&self, admin: SocketAddr, authority: &Authority) {
        *self.shared.to.lock().expect("nobody panics with it") = authority.operator_of(admin);
    }

    /// Lets this happen from now on.
    ///
    /// # Panics
    ///
    /// After a panic.
    pub fn suffers(&self, fault: Fault) {
        *self.shared.fault.lock().expect("nobody panics with it") = fault;
    }

    /// How many pushes the operator has made.
    pub fn pushes(&self) -> usize {
        self.shared.pushes.load(Ordering::Relaxed)
    }

    /// What was answered to pushes that came once too often.
    ///
    /// # Panics
    ///
    /// After a panic.
    pub fn replays(&self) -> Vec<u16> {
        self.shared.replays.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().expect("nobody panics with it")
    }

    async fn carry(&self, said: Said) -> Result<Answer, Lost> {
        let is_push = said.method != Method::GET;
        if is_push {
            self.pushes.fetch_add(1, Ordering::Relaxed);
        }
        match self.fault() {
            Fault::Silence => std::future::pending().await,
            Fault::Slow(time) => {
                let answer = self.pass(&said).await;
                sleep(time).await;
                answer
            }
            Fault::AnswersLost if is_push => {
                self.pass(&said).await?;
                Err(Lost)
            }
            Fault::Doubled if is_push => {
                let answer = self.pass(&said).await;
                self.replay(&said).await;
                answer
            }
            Fault::Reordered if is_push => {
                let before = self.before.lock().expect("nobody panics with it").replace(said.clone());
                let answer = self.pass(&said).await;
                if let Some(before) = before {
                    self.replay(&before).await;
                }
                answer
            }
            Fault::Damaged(tenants) if is_push => self.pass(&said.damaged(tenants)).await,
            Fault::None | Fault::AnswersLost | Fault::Doubled | Fault::Reordered | Fault::Damaged(_) => self.pass(&said).await,
        }
    }

    async fn replay(&self, said: &Said) {
        if let Ok((status, _)) = self.pass(said).await {
            self.replays.lock().expect("nobody panics with it").push(status);
        }
    }

    async fn pass(&self, said: &Said) -> Result<Answer, Lost> {
        let (client, base) = self.to.lock().expect("nobody panics with it").clone();
        let mut request = client.request(said.method.clone(), format!("{base}{}", said.path)).header("content-type", "application/json");
        if said.gzip {
            request = request.header("content-encoding", "gzip");
        }
        let answer = request.body(said.body.clone()).send().await.map_err(|_| Lost)?;
        Ok((answer.status().as_u16(), answer.bytes().await.map_err(|_| Lost)?))
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        // An operator that hangs up, or that hears nothing, is what these tests are about.
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let gzip = request.headers().contains_key("content-encoding");
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
    let (status, body) = shared.carry(Said { method, path, gzip, body }).await?;
    Ok(Response::builder().status(status).body(Full::new(body)).expect("a status and a body are a response"))
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let (certificate, key) = authority.sign(SERVER);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("our own certificate")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("our own key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).expect("the provider has TLS 1.3").with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).expect("the key is the certificate's")))
}
