//! Stories of a fleet on a real Redis.

mod harness;

use std::time::{Duration, Instant};

use carillon_tenant::FleetName;
use fred::{
    interfaces::{ClientLike, KeysInterface},
    types::CustomCommand,
};
use harness::{Detour, Pod, RedisServer, SOON, eventually, tenant};

/// A promise of DESIGN: everything heals so soon after Redis is back.
const HEALED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_and_to_hosts_only() {
    let redis = RedisServer::start();
    let (a, b) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await);
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let client = redis.client().await;
    tokio::join!(a.fleet.host(&acme), b.fleet.host(&acme), b.fleet.host(&globex));
    assert_eq!(redis.listeners(&client, &acme).await, 2, "host returned when the bus was heard");
    assert_eq!(redis.listeners(&client, &globex).await, 1);

    a.publish(&acme, 1);
    a.publish(&globex, 2);
    b.publish(&globex, 3);
    b.publish(&acme, 4);
    eventually(SOON, "all arrived", async || a.received() >= 1 && b.received() >= 2).await;
    assert_eq!(b.take(), ["acme tick 1", "globex tick 2"]);
    assert_eq!(a.take(), ["acme tick 4"], "neither its own nor those of a tenant that is not hosted");
    assert_eq!([a.lost("publish"), a.lost("receive"), b.lost("publish"), b.lost("receive")], [0; 4]);
    assert_eq!((a.metrics.adapter_published.get(), a.metrics.adapter_received.get()), (2, 1));
    assert!(a.fleet.redis_commands() >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_is_heard_as_long_as_the_tenant_is_hosted() {
    let redis = RedisServer::start();
    let pod = Pod::joined("a", &redis).await;
    let (acme, client) = (tenant("acme"), redis.client().await);
    pod.fleet.host(&acme).await;
    pod.fleet.host(&acme).await;
    for _ in 0..50 {
        pod.fleet.unhost(&acme);
        pod.fleet.host(&acme).await;
        assert_eq!(redis.listeners(&client, &acme).await, 1);
    }
    pod.fleet.unhost(&acme);
    pod.fleet.unhost(&acme);
    pod.fleet.unhost(&acme);
    assert_eq!(redis.listeners(&client, &acme).await, 1, "it lingers");
    eventually(SOON, "unsubscribed", async || redis.listeners(&client, &acme).await == 0).await;
    // Whoever comes just then, or later, is heard as well.
    for _ in 0..3 {
        pod.fleet.host(&acme).await;
        assert_eq!(redis.listeners(&client, &acme).await, 1);
        pod.fleet.unhost(&acme);
    }
    eventually(SOON, "unsubscribed", async || redis.listeners(&client, &acme).await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_whole_and_in_order() {
    const BURST: u64 = 2_000;
    let redis = RedisServer::start();
    let (a, b) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await);
    let acme = tenant("acme");
    b.fleet.host(&acme).await;
    for number in 0..BURST {
        a.publish(&acme, number);
    }
    eventually(SOON, "all arrived", async || b.received() as u64 >= BURST).await;
    let expected: Vec<String> = (0..BURST).map(|number| format!("acme tick {number}")).collect();
    assert_eq!(b.take(), expected);
    assert_eq!([a.lost("publish"), b.lost("receive")], [0; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_counted_and_heals() {
    let mut redis = RedisServer::start();
    let (a, b) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await);
    let (acme, globex, initech) = (tenant("acme"), tenant("globex"), tenant("initech"));
    b.fleet.host(&acme).await;
    b.fleet.host(&globex).await;
    a.publish(&acme, 0);
    eventually(SOON, "it works", async || b.received() == 1).await;
    b.take();

    redis.kill();
    let killed = Instant::now();
    a.sees_redis(false).await;
    b.sees_redis(false).await;
    assert!(killed.elapsed() < Duration::from_secs(4), "redis_up is true to life, took {:?}", killed.elapsed());
    let lost_before = a.lost("publish");
    let started = Instant::now();
    for number in 1..=1_000 {
        a.publish(&acme, number);
    }
    b.fleet.host(&initech).await;
    b.fleet.unhost(&globex);
    assert!(started.elapsed() < Duration::from_millis(500), "nothing waits for a Redis that is away: {:?}", started.elapsed());
    assert_eq!(a.lost("publish") - lost_before, 1_000);

    redis.restart();
    // From one message to the next, until both tenants are heard: one that was hosted all the time, one that came meanwhile.
    let mut sent = 1_000;
    let mut seen = Vec::new();
    eventually(HEALED, "delivery is back", async || {
        sent += 1;
        a.publish(&acme, sent);
        a.publish(&initech, sent);
        seen.extend(b.take());
        ["acme", "initech"].iter().all(|tenant| seen.iter().any(|message| message.starts_with(tenant)))
    })
    .await;
    a.sees_redis(true).await;
    let client = redis.client().await;
    assert_eq!(redis.listeners(&client, &globex).await, 0, "left during the outage");
    assert_eq!(redis.listeners(&client, &acme).await, 1);

    // Now what was heard before the outage, is heard after it, and the gap in between, are all that was sent.
    sent += 1;
    a.publish(&acme, sent);
    let last = format!("acme tick {sent}");
    eventually(SOON, "the last one arrived", async || {
        seen.extend(b.take());
        seen.contains(&last)
    })
    .await;
    let delivered = seen.iter().filter(|message| message.starts_with("acme")).count() as u64;
    let initech_delivered = seen.len() as u64 - delivered;
    let initech_first: u64 = seen.iter().find_map(|message| message.strip_prefix("initech tick ")).unwrap().parse().unwrap();
    let initech_sent = sent - 1 - (initech_first - 1);
    assert_eq!(delivered + initech_delivered + b.lost("receive"), sent + initech_sent, "delivered + lost = sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_falls_silent_is_noticed() {
    let redis = RedisServer::start();
    let (a, b) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await);
    let acme = tenant("acme");
    b.fleet.host(&acme).await;
    redis.signal("STOP");
    a.sees_redis(false).await;
    let started = Instant::now();
    for number in 0..100 {
        a.publish(&acme, number);
    }
    assert!(started.elapsed() < Duration::from_millis(200));
    assert!(a.lost("publish") >= 100);
    redis.signal("CONT");
    let mut sent = 100;
    eventually(HEALED, "delivery is back", async || {
        sent += 1;
        a.publish(&acme, sent);
        b.received() > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_replaced() {
    let redis = RedisServer::start();
    let detour = Detour::to(&redis).await;
    let (a, b) = (Pod::start_at("a", detour.url.clone()), Pod::start_at("b", detour.url.clone()));
    a.sees_redis(true).await;
    b.sees_redis(true).await;
    let acme = tenant("acme");
    b.fleet.host(&acme).await;
    detour.silence();
    a.sees_redis(false).await;
    let mut sent = 0;
    eventually(SOON, "delivery is back", async || {
        sent += 1;
        a.publish(&acme, sent);
        b.received() > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_needs_few_rights() {
    let redis = RedisServer::start();
    let client = redis.client().await;
    let rules = "SETUSER carillon on >p@ss ~carillon:* &carillon:* +hello +ping +info +client|id +ssubscribe +sunsubscribe +spublish +get +set +del +unlink +eval +evalsha +time +zadd +zrem +zremrangebyscore +zcard +pexpire +hget +hgetall +hset +hdel +hlen +hscan";
    let acl = CustomCommand::new_static("ACL", None::<u16>, false);
    client.custom::<fred::types::Value, _>(acl, rules.split(' ').collect::<Vec<_>>()).await.unwrap();
    let url = format!("redis://carillon:p%40ss@127.0.0.1:{}", redis.port());
    let (a, b) = (Pod::start_at("a", url.clone()), Pod::start_at("b", url));
    exchange(&a, &b).await;
    let stranger = Pod::start_at("c", format!("redis://carillon:wrong@127.0.0.1:{}", redis.port()));
    assert_eq!(stranger.fleet.session_key().await, None);
    a.fleet.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_will_do() {
    let nodes = std::env::temp_dir().join(format!("carillon-nodes-{}.conf", std::process::id()));
    let nodes = nodes.to_string_lossy().into_owned();
    let arguments = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-config-file", &nodes];
    let redis = RedisServer::start_with(&arguments);
    let client = redis.client().await;
    let slots = CustomCommand::new_static("CLUSTER", None::<u16>, false);
    client.custom::<fred::types::Value, _>(slots, vec!["ADDSLOTSRANGE", "0", "16383"]).await.unwrap();
    let url = format!("redis-cluster://127.0.0.1:{}", redis.port());
    let (a, b) = (Pod::start_at("a", url.clone()), Pod::start_at("b", url));
    exchange(&a, &b).await;
    std::fs::remove_file(nodes).ok();
}

/// Two pods hear each other, find each other, and have the same key.
async fn exchange(a: &Pod, b: &Pod) {
    a.sees_redis(true).await;
    b.sees_redis(true).await;
    for tenant in ["acme", "globex", "initech"].map(tenant) {
        tokio::join!(a.fleet.host(&tenant), b.fleet.host(&tenant));
        a.publish(&tenant, 1);
        b.publish(&tenant, 2);
    }
    eventually(SOON, "all arrived", async || a.received() == 3 && b.received() == 3).await;
    eventually(SOON, "b is found", async || a.fleet.locate("b").await.is_some()).await;
    assert_eq!(a.fleet.session_key().await.expect("a key"), b.fleet.session_key().await.expect("a key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_without_redis_and_joins_when_it_comes() {
    let mut redis = RedisServer::absent();
    let (a, b) = (Pod::start("a", &redis), Pod::start("b", &redis));
    let acme = tenant("acme");
    let started = Instant::now();
    b.fleet.host(&acme).await;
    a.publish(&acme, 1);
    assert!(started.elapsed() < Duration::from_millis(200), "took {:?}", started.elapsed());
    assert_eq!(a.fleet.locate("b").await, None);
    assert_eq!((a.lost("publish"), a.metrics.redis_up.get()), (1, 0));
    redis.restart();
    let mut sent = 1;
    eventually(HEALED, "delivery works", async || {
        sent += 1;
        a.publish(&acme, sent);
        b.received() > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_find_each_other_while_they_live() {
    let mut redis = RedisServer::start();
    let (a, b, c) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await, Pod::joined("c", &redis).await);
    let address = Some("127.0.0.1:4000".parse().unwrap());
    eventually(SOON, "b is found", async || a.fleet.locate("b").await == address).await;
    eventually(SOON, "c is found", async || a.fleet.locate("c").await == address).await;
    let client = redis.client().await;
    let lease: i64 = client.pttl("carillon:{fleet}:pod:b").await.unwrap();
    assert!((6_000..=10_000).contains(&lease), "a lease of {lease} ms");
    assert_eq!(a.fleet.locate("nobody").await, None);

    b.fleet.leave().await;
    assert_eq!(client.exists::<u64, _>("carillon:{fleet}:pod:b").await.unwrap(), 0, "b left");
    // A pod that just ends leaves an entry that expires.
    drop(c);
    eventually(SOON, "both are gone", async || a.fleet.locate("b").await.is_none() && a.fleet.locate("c").await.is_none()).await;

    let d = Pod::joined("d", &redis).await;
    eventually(SOON, "d is found", async || a.fleet.locate("d").await == address).await;
    redis.kill();
    a.sees_redis(false).await;
    eventually(SOON, "the address is stale", async || a.fleet.locate("d").await == address).await;
    redis.restart();
    let client = redis.client().await;
    eventually(HEALED, "d is registered again", async || {
        client.exists::<u64, _>("carillon:{fleet}:pod:d").await.is_ok_and(|there| there == 1)
    })
    .await;
    drop(d);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleets_on_one_redis_count_their_own_pods_and_share_what_is_a_tenants() {
    let redis = RedisServer::start();
    let noisy = || FleetName::new("noisy").unwrap();
    let (a, b) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await);
    let (c, d) = (Pod::start_in(noisy(), "c", redis.url()), Pod::start("d", &redis));
    c.sees_redis(true).await;
    eventually(SOON, "three and one", async || {
        [&a, &b, &d].iter().all(|pod| pod.metrics.fleet_pods.get() == 3) && c.metrics.fleet_pods.get() == 1
    })
    .await;
    eventually(SOON, "b is found", async || a.fleet.locate("b").await.is_some()).await;
    assert_eq!((a.fleet.locate("c").await, c.fleet.locate("a").await), (None, None), "of another fleet");
    assert!(c.fleet.locate("c").await.is_some());
    // While a tenant moves its clients are in both.
    let acme = tenant("acme");
    tokio::join!(a.fleet.host(&acme), c.fleet.host(&acme));
    a.publish(&acme, 1);
    c.publish(&acme, 2);
    eventually(SOON, "both hear of it", async || a.received() == 1 && c.received() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pods_take_the_same_session_key() {
    let mut redis = RedisServer::absent();
    let (a, b) = (Pod::start("a", &redis), Pod::start("b", &redis));
    redis.restart();
    let (of_a, of_b) = tokio::join!(a.fleet.session_key(), b.fleet.session_key());
    let key = of_a.expect("Redis came in time");
    assert_eq!(key.expose().len(), 32);
    assert_eq!(of_b, Some(key.clone()));
    let c = Pod::joined("c", &redis).await;
    assert_eq!(c.fleet.session_key().await, Some(key));
    assert_eq!(carillon_server::fleet::Fleet::alone("d".to_owned()).session_key().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_goes_out_before_a_pod_leaves() {
    let redis = RedisServer::start();
    let (a, b) = (Pod::joined("a", &redis).await, Pod::joined("b", &redis).await);
    let acme = tenant("acme");
    b.fleet.host(&acme).await;
    for number in 0..500 {
        a.publish(&acme, number);
    }
    a.fleet.leave().await;
    assert_eq!((a.metrics.adapter_published.get(), a.lost("publish")), (500, 0));
    eventually(SOON, "all arrived", async || b.received() == 500).await;
    a.publish(&acme, 500);
    assert_eq!(a.lost("publish"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tenants_are_heard_again_after_the_connection_broke() {
    const TENANTS: usize = 1_000;
    let redis = RedisServer::start();
    let pod = Pod::joined("a", &redis).await;
    let tenants: Vec<_> = (0..TENANTS).map(|number| tenant(&format!("t{number}"))).collect();
    for tenants in tenants.chunks(100) {
        let mut hosts = tokio::task::JoinSet::new();
        for tenant in tenants {
            let (fleet, tenant) = (pod.fleet.clone(), tenant.clone());
            hosts.spawn(async move { fleet.host(&tenant).await });
        }
        hosts.join_all().await;
    }
    let client = redis.client().await;
    let heard = async || client.pubsub_shardchannels_count().await == TENANTS;
    assert!(heard().await);
    let kill = CustomCommand::new_static("CLIENT", None::<u16>, false);
    client.custom::<fred::types::Value, _>(kill, vec!["KILL", "TYPE", "pubsub"]).await.unwrap();
    eventually(HEALED, "all are heard again", heard).await;
}

trait ShardChannels {
    async fn pubsub_shardchannels_count(&self) -> usize;
}

impl ShardChannels for fred::prelude::Client {
    async fn pubsub_shardchannels_count(&self) -> usize {
        use fred::interfaces::PubsubInterface;
        let channels: Vec<String> = self.pubsub_shardchannels("carillon:*").await.unwrap();
        channels.len()
    }
}
