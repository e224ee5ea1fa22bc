//! An issuer on this machine, with a certificate for `localhost`.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

/// What is answered.
#[derive(Clone)]
pub enum Answer {
    /// A document, with its entity tag and `Cache-Control`.
    Document {
        body: String,
        etag: Option<&'static str>,
        cache: Option<&'static str>,
    },
    Status(u16),
    Redirect(String),
    /// Bytes without end.
    Endless,
    /// A header without end.
    LargeHead,
    /// Nothing, ever.
    Silence,
    /// The connection ends.
    Hangup,
}

impl Answer {
    pub fn document(body: impl Into<String>) -> Self {
        Self::Document { body: body.into(), etag: None, cache: None }
    }
}

/// What was asked: the path, and which entity tag was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub if_none_match: Option<String>,
}

#[derive(Default)]
struct Script {
    answers: Vec<(String, Answer)>,
    asked: Vec<Asked>,
    connections: usize,
}

/// Ends when dropped.
pub struct Issuer {
    pub address: SocketAddr,
    pub roots: RootCertStore,
    script: Arc<Mutex<Script>>,
    _task: JoinSet<()>,
}

impl Issuer {
    pub async fn start() -> Self {
        Self::serve(true).await
    }

    pub async fn start_plain() -> Self {
        Self::serve(false).await
    }

    async fn serve(secure: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut params = CertificateParams::default();
        // Authorities are told apart by their names.
        params.distinguished_name.push(DnType::CommonName, format!("authority of {address}"));
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = secure.then(|| TlsAcceptor::from(Arc::new(config)));

        let script = Arc::new(Mutex::new(Script::default()));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, acceptor, Arc::clone(&script)));
        Self { address, roots, script, _task: task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// From now on `path` answers so.
    pub fn answer(&self, path: &str, answer: Answer) {
        let mut script = self.script.lock().unwrap();
        script.answers.retain(|(of, _)| of != path);
        script.answers.push((path.to_owned(), answer));
    }

    /// What was asked since this was last called.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }

    pub fn connections(&self) -> usize {
        self.script.lock().unwrap().connections
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, script: Arc<Mutex<Script>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        script.lock().unwrap().connections += 1;
        let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
        connections.spawn(async move {
            let service = service_fn(move |request| reply(request, Arc::clone(&script)));
            // A client that doesn't trust the certificate, or has enough, goes.
            match acceptor {
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                }
                None => {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                }
            }
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn reply(request: Request<Incoming>, script: Arc<Mutex<Script>>) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let if_none_match = request.headers().get(IF_NONE_MATCH).map(|tag| tag.to_str().unwrap().to_owned());
    let answer = {
        let mut script = script.lock().unwrap();
        script.asked.push(Asked { path: path.clone(), if_none_match: if_none_match.clone() });
        script.answers.iter().find(|(of, _)| *of == path).map(|(_, answer)| answer.clone())
    };
    let full = |text: String| Full::new(Bytes::from(text)).boxed();
    let response = Response::builder();
    let response = match answer.unwrap_or(Answer::Status(404)) {
        Answer::Document { body, etag, cache } => {
            let mut response = response;
            if let Some(cache) = cache {
                response = response.header(CACHE_CONTROL, cache);
            }
            if let Some(etag) = etag {
                response = response.header(ETAG, etag);
            }
            if etag.is_some() && if_none_match.as_deref() == etag {
                response.status(StatusCode::NOT_MODIFIED).body(full(String::new()))
            } else {
                response.body(full(body))
            }
        }
        Answer::Status(status) => response.status(status).body(full("no".to_owned())),
        Answer::Redirect(to) => response.status(StatusCode::FOUND).header(LOCATION, to).body(full(String::new())),
        Answer::Endless => {
            let frames = futures_stream(Bytes::from(vec![b' '; 4096]));
            response.body(StreamBody::new(frames).boxed())
        }
        Answer::LargeHead => response.header("x-large", "x".repeat(64 << 10)).body(full(String::new())),
        Answer::Silence => std::future::pending().await,
        Answer::Hangup => return Err(std::io::Error::other("enough")),
    };
    Ok(response.unwrap())
}

fn futures_stream(chunk: Bytes) -> impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync {
    futures::stream::repeat_with(move || Ok(Frame::data(chunk.clone())))
}
