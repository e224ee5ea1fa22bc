//! Certificates that change under a running server.

use std::{fs, time::Duration};

use axum::{Router, routing::get};
use carillon_server::{
    side_port::{self, Bounds},
    tls::Certificates,
};
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    certificates::{Authority, Directory},
    server::{eventually, loopback},
};

const INTERVAL: Duration = Duration::from_millis(5);

#[tokio::test]
async fn new_certificates_are_taken_and_bad_ones_are_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let directory = Directory::new(&old);
    let certificates = Certificates::load(directory.path(), "carillon-operator".try_into().unwrap()).unwrap();
    let mut configs = certificates.configs();
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (failures, stop) = (Counter::default(), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let routes = Router::new().route("/", get(async || "ok"));
    tokio::spawn(side_port::serve(listener, Some(configs.clone()), Bounds::ADMIN, routes, stop.clone()));
    tokio::spawn(certificates.follow(INTERVAL, failures.clone(), stop));

    let url = format!("https://carillon-server:{}/", address.port());
    let operator_of = |authority: &Authority| authority.client(address, Some(&authority.sign("carillon-operator"))).build().unwrap();
    let (old_operator, new_operator) = (operator_of(&old), operator_of(&new));
    assert!(old_operator.get(&url).send().await.is_ok());
    assert!(new_operator.get(&url).send().await.is_err());

    fs::write(directory.path().join("tls.key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    eventually("a counted failure", async || (failures.get() == 1).then_some(())).await;
    assert!(!configs.has_changed().unwrap());
    assert!(operator_of(&old).get(&url).send().await.is_ok(), "the last good certificates stay in force");

    directory.write(&new, &new.sign("carillon-server"));
    configs.changed().await.unwrap();
    assert!(new_operator.get(&url).send().await.is_ok());
    // The old operator still has a connection, made when it was welcome; it ends as soon as it is idle.
    eventually("the end of the old operator's connection", async || old_operator.get(&url).send().await.err()).await;

    fs::remove_file(directory.path().join("ca.crt")).unwrap();
    let before = failures.get();
    eventually("another counted failure", async || (failures.get() > before).then_some(())).await;
    assert!(operator_of(&new).get(&url).send().await.is_ok());
}

#[test]
fn says_what_is_wrong_with_certificates() {
    let authority = Authority::new();
    let directory = Directory::new(&authority);
    let load =
        || Certificates::load(directory.path(), "carillon-operator".try_into().unwrap()).map(drop).map_err(|error| error.to_string());
    let path = directory.path().display();
    assert_eq!(load(), Ok(()));

    let other = authority.sign("carillon-server");
    fs::write(directory.path().join("tls.key"), other.key).unwrap();
    assert_eq!(load(), Err(format!("the certificates in {path} can't be used: keys may not be consistent: KeyMismatch")));
    fs::write(directory.path().join("tls.key"), "secret-marker").unwrap();
    assert_eq!(load(), Err(format!("{path}/tls.key holds no private key in PEM")));
    fs::write(directory.path().join("tls.crt"), "").unwrap();
    assert_eq!(load(), Err(format!("{path}/tls.crt holds no certificate in PEM")));
    fs::remove_file(directory.path().join("ca.crt")).unwrap();
    assert_eq!(load(), Err(format!("{path}/ca.crt: No such file or directory (os error 2)")));
}
