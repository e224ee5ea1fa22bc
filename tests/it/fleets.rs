//! Several fleets on one Redis: each counts its own pods, and a tenant that moves takes its clients along.

use carillon_tests::{
    client::{Client, End, Failure},
    fleet::{Fleet, Setup},
    tenants::{secret_of, tenant},
    tokens::{claims, signed, token},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_tenant_that_moves_come_back_and_those_of_others_stay() {
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let setup = Setup { servers: 2, redis: true, fleets: &["default", "noisy"], ..Setup::default() };
    let fleet = Fleet::with(setup, &[acme.clone(), globex]).await;
    let (old, new) = (fleet.addresses()[0], fleet.addresses()[1]);
    let mut mover = Client::connect(old, &token("acme", 1)).await;
    let mut other = Client::connect(old, &token("globex", 1)).await;
    let mut there = Client::connect(new, &token("acme", 2)).await;

    // While it is in both, what is published in one is heard in the other.
    let data = json!({"from": "the old fleet"});
    fleet.publish("acme", "news", &data);
    assert_eq!(there.expect("news").await, data);

    fleet.move_away(0, &acme);
    assert_eq!(mover.stay().await, End::Transport, "its library tries again");
    assert_eq!(Client::attempt(old, &token("acme", 1)).await.err(), Some(Failure::Unreachable), "nobody is sent away for good");
    Client::connect(new, &token("acme", 1)).await;
    fleet.publish("globex", "news", &data);
    assert_eq!(other.expect("news").await, data);
    // Back again, it is served as before.
    fleet.push(&[acme, tenant("globex")]);
    Client::connect(old, &token("acme", 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_new_sends_no_client_of_another_fleet_away_for_good() {
    let mover = tenant("mover").with("/auth/jwt/claims/tenant", "org");
    let fleet = Fleet::with(Setup::default(), &[]).await;
    let mut of_mover = claims("unused", 1);
    of_mover.as_object_mut().expect("claims are an object").remove("tenant_id");
    of_mover["org"] = json!("mover");
    let of_mover = signed(&of_mover, secret_of("mover", "first").as_bytes());
    let knock = async |token: &str| Client::attempt(fleet.address(), token).await.err();
    let refused = Some(Failure::Refused("Authentication error".to_owned()));

    assert_eq!(knock(&of_mover).await, refused);
    fleet.push_beside(0, &[tenant("acme")], std::slice::from_ref(&mover));
    assert_eq!(knock(&of_mover).await, Some(Failure::Unreachable), "its library tries again, until it is led to where its tenant is");
    assert_eq!(knock(&token("nobody", 1)).await, refused);
    Client::connect(fleet.address(), &token("acme", 1)).await;

    // Which tenants there are elsewhere is told anew; and one that comes here is served here.
    fleet.push_beside(0, &[tenant("acme")], &[tenant("globex")]);
    assert_eq!((knock(&of_mover).await, knock(&token("globex", 1)).await), (refused, Some(Failure::Unreachable)));
    fleet.push_beside(0, &[tenant("acme"), mover.clone()], &[tenant("globex")]);
    let mut client = Client::connect(fleet.address(), &of_mover).await;
    // A snapshot may bring the news of a move, too.
    fleet.push_beside(0, &[tenant("acme")], &[mover]);
    assert_eq!(client.stay().await, End::Transport, "its library tries again");
}
