//! Fetching key sets from a real server on this machine, over real TLS.

mod issuer;

use std::time::Duration;

use carillon_jwks::{AddressPolicy, Book, Cache, FetchError, Fetcher, News, Options, Success, built_in};
use carillon_tenant::{Fetched, JwksSource};
use issuer::{Answer, Asked, Issuer};
use tokio::time::Instant;

fn key_set(kids: &[&str]) -> String {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "{kid}"}}"#))
        .collect();
    format!(r#"{{"keys": [{}]}}"#, keys.join(","))
}

fn options(issuer: &Issuer) -> Options {
    Options::new("127.0.0.0/8,::1".parse().unwrap(), false, issuer.roots.clone())
}

fn keys_of(issuer: &Issuer) -> JwksSource {
    JwksSource::Url(issuer.url("/keys"))
}

async fn fetch(issuer: &Issuer, cache: &Cache) -> Result<Success, FetchError> {
    Fetcher::new(options(issuer)).fetch(&keys_of(issuer), cache).await
}

async fn refusal(issuer: &Issuer) -> FetchError {
    fetch(issuer, &Cache::default()).await.unwrap_err()
}

fn asked(path: &str, tag: Option<&str>) -> Asked {
    Asked { path: path.to_owned(), if_none_match: tag.map(str::to_owned) }
}

#[tokio::test]
async fn a_key_set_is_fetched_and_asked_for_again_only_if_it_changed() {
    let issuer = Issuer::start().await;
    let answer = |kids: &[&str], etag| Answer::Document { body: key_set(kids), etag: Some(etag), cache: Some("public, max-age=120") };
    issuer.answer("/keys", answer(&["one"], "\"1\""));
    let first = fetch(&issuer, &Cache::default()).await.unwrap();
    assert!(first.keys.unwrap().has_kid("one"));
    assert_eq!((first.max_age, issuer.asked()), (Some(Duration::from_secs(120)), vec![asked("/keys", None)]));

    let second = fetch(&issuer, &first.cache).await.unwrap();
    assert_eq!((second.keys, second.max_age), (None, Some(Duration::from_secs(120))));
    assert_eq!(issuer.asked(), [asked("/keys", Some("\"1\""))]);

    issuer.answer("/keys", answer(&["two"], "\"2\""));
    let third = fetch(&issuer, &second.cache).await.unwrap();
    assert!(third.keys.unwrap().has_kid("two"));
    assert_eq!(fetch(&issuer, &third.cache).await.unwrap().keys, None);
}

#[tokio::test]
async fn a_rotation_is_seen_and_the_last_good_keys_outlast_every_failure() {
    let issuer = Issuer::start().await;
    let (fetcher, source, mut book) = (Fetcher::new(options(&issuer)), keys_of(&issuer), Book::default());
    let mut now = Instant::now();
    book.lead(true, now);
    book.want(&source, Duration::from_secs(60), now);
    let mut latest = None;
    let mut look = async |latest: &mut Option<Fetched>| -> News {
        now = book.next().unwrap().max(now);
        let due = book.start(now).unwrap();
        let result = fetcher.fetch(&due.source, &due.cache).await;
        let news = book.done(&due, result, 1.0, now);
        if news.changed.is_some() {
            latest.clone_from(&news.changed);
        }
        news
    };
    let has = |latest: &Option<Fetched>, kid: &str| latest.as_ref().and_then(Fetched::key_set).is_some_and(|keys| keys.has_kid(kid));

    assert_eq!(look(&mut latest).await.word, "status");
    assert!(matches!(&latest, Some(Fetched::Never(why)) if why.ends_with("/keys answers with status 404")), "{latest:?}");
    issuer.answer("/keys", Answer::document(key_set(&["old"])));
    assert_eq!(look(&mut latest).await.word, "changed");
    issuer.answer("/keys", Answer::document(key_set(&["new", "old"])));
    assert_eq!(look(&mut latest).await.word, "changed");
    assert!(has(&latest, "old") && has(&latest, "new"));
    issuer.answer("/keys", Answer::document(key_set(&["old", "new"])));
    assert_eq!(look(&mut latest).await, News { changed: None, word: "unchanged" });

    for (answer, word) in [
        (Answer::Status(500), "status"),
        (Answer::Hangup, "unreachable"),
        (Answer::document("{\"keys\": []}"), "unusable"),
        (Answer::document("<html>"), "unusable"),
        (Answer::Redirect(issuer.url("/elsewhere")), "redirected"),
    ] {
        issuer.answer("/keys", answer);
        assert_eq!(look(&mut latest).await, News { changed: None, word }, "too early to be told");
    }
    issuer.answer("/keys", Answer::Status(503));
    while !matches!(latest, Some(Fetched::Stale(..))) {
        look(&mut latest).await;
    }
    assert!(has(&latest, "old") && has(&latest, "new"));
    issuer.answer("/keys", Answer::document(key_set(&["new"])));
    assert_eq!(look(&mut latest).await.word, "changed");
    assert!(matches!(latest, Some(Fetched::Fresh(_))) && !has(&latest, "old") && has(&latest, "new"));
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let issuer = Issuer::start().await;
    let url = issuer.url("/keys");
    let padded = |size: usize| Answer::document(format!("{}{}", key_set(&["one"]), " ".repeat(size)));
    issuer.answer("/keys", padded(200 << 10));
    assert!(fetch(&issuer, &Cache::default()).await.is_ok());
    issuer.answer("/keys", padded(256 << 10));
    assert_eq!(refusal(&issuer).await, FetchError::TooLarge(url.clone()));
    issuer.answer("/keys", Answer::Endless);
    assert_eq!(refusal(&issuer).await, FetchError::TooLarge(url));
    issuer.answer("/keys", Answer::LargeHead);
    assert_eq!(refusal(&issuer).await.word(), "unreachable");
    let kids: Vec<_> = (0..33).map(|index| index.to_string()).collect();
    issuer.answer("/keys", Answer::document(key_set(&kids.iter().map(String::as_str).collect::<Vec<_>>())));
    assert_eq!(refusal(&issuer).await.to_string(), "the key set has 33 keys; at most 32 are taken");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    issuer.answer("/keys", Answer::Redirect(other.url("/keys")));
    let error = refusal(&issuer).await;
    assert_eq!(
        error.to_string(),
        format!("{} redirects (status 302), which is not followed: name the URL it leads to", issuer.url("/keys"))
    );
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn private_addresses_are_not_connected_to_under_any_name() {
    let issuer = Issuer::start().await;
    issuer.answer("/keys", Answer::document(key_set(&["one"])));
    let port = issuer.address.port();
    let fetcher = Fetcher::new(Options { addresses: AddressPolicy::default(), insecure_urls: true, ..options(&issuer) });
    for host in ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost."] {
        let source = JwksSource::Url(format!("http://{host}:{port}/keys"));
        let error = fetcher.fetch(&source, &Cache::default()).await.unwrap_err();
        assert!(matches!(error, FetchError::AddressRefused(_) | FetchError::Unresolved(_)), "{host}: {error}");
    }
    let error = fetcher.fetch(&keys_of(&issuer), &Cache::default()).await.unwrap_err();
    assert_eq!(error, FetchError::AddressRefused("localhost".to_owned()));
    // Nor where a discovery document points to.
    let allowed = Issuer::start().await;
    let id = allowed.url("");
    allowed.answer("/.well-known/openid-configuration", discovery(&id, &format!("https://169.254.169.254:{port}/keys")));
    let error = Fetcher::new(options(&allowed)).fetch(&JwksSource::Issuer(id), &Cache::default()).await.unwrap_err();
    assert_eq!(error, FetchError::AddressRefused("169.254.169.254".to_owned()));
    assert_eq!(issuer.connections(), 0);
}

#[tokio::test]
async fn slow_servers_are_given_up() {
    let issuer = Issuer::start().await;
    issuer.answer("/keys", Answer::Silence);
    let fetcher = Fetcher::new(Options { timeout: Duration::from_millis(300), ..options(&issuer) });
    let started = Instant::now();
    assert_eq!(fetcher.fetch(&keys_of(&issuer), &Cache::default()).await.unwrap_err(), FetchError::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(5) && issuer.connections() == 1);
}

#[tokio::test]
async fn only_who_proves_to_be_the_issuer_is_heard() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    issuer.answer("/keys", Answer::document(key_set(&["one"])));
    let why = async |options: Options, url: String| {
        Fetcher::new(options).fetch(&JwksSource::Url(url), &Cache::default()).await.unwrap_err().to_string()
    };
    let stranger = why(Options { roots: other.roots.clone(), ..options(&issuer) }, issuer.url("/keys")).await;
    assert_eq!(stranger, "the TLS handshake with localhost failed: its certificate is signed by an unknown authority");
    let known = why(Options { roots: built_in(), ..options(&issuer) }, issuer.url("/keys")).await;
    assert_eq!(known, stranger, "the built-in authorities don't know it either");
    let misnamed = why(options(&issuer), format!("https://127.0.0.1:{}/keys", issuer.address.port())).await;
    assert_eq!(misnamed, "the TLS handshake with 127.0.0.1 failed: its certificate is for another name");
    assert_eq!(issuer.asked(), []);

    let plain = Issuer::start_plain().await;
    plain.answer("/keys", Answer::document(key_set(&["one"])));
    let url = format!("http://localhost:{}/keys", plain.address.port());
    assert!(why(options(&plain), url.clone()).await.contains("does not begin with https://"));
    assert!(why(options(&plain), plain.url("/keys")).await.contains("it speaks no TLS"));
    let insecure = Options { insecure_urls: true, ..options(&plain) };
    assert!(Fetcher::new(insecure).fetch(&JwksSource::Url(url), &Cache::default()).await.is_ok());
}

fn discovery(issuer: &str, keys: &str) -> Answer {
    Answer::Document { body: format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}"}}"#), etag: Some("\"d\""), cache: None }
}

#[tokio::test]
async fn an_issuer_is_asked_where_its_keys_are() {
    let issuer = Issuer::start().await;
    let fetcher = Fetcher::new(options(&issuer));
    let id = issuer.url("/realm");
    let source = JwksSource::Issuer(id.clone());
    let document = "/realm/.well-known/openid-configuration";
    issuer.answer(document, discovery(&id, &issuer.url("/keys")));
    issuer.answer("/keys", Answer::Document { body: key_set(&["one"]), etag: Some("\"k\""), cache: None });
    let first = fetcher.fetch(&source, &Cache::default()).await.unwrap();
    assert!(first.keys.unwrap().has_kid("one"));
    assert_eq!(issuer.asked(), [asked(document, None), asked("/keys", None)]);
    let second = fetcher.fetch(&source, &first.cache).await.unwrap();
    assert_eq!(second.keys, None);
    assert_eq!(issuer.asked(), [asked(document, Some("\"d\"")), asked("/keys", Some("\"k\""))]);

    // The keys move: the tag of the old place means nothing at the new one.
    issuer.answer(document, Answer::document(format!(r#"{{"issuer": "{id}", "jwks_uri": "{}"}}"#, issuer.url("/moved"))));
    issuer.answer("/moved", Answer::Document { body: key_set(&["two"]), etag: Some("\"k\""), cache: None });
    assert!(fetcher.fetch(&source, &second.cache).await.unwrap().keys.unwrap().has_kid("two"));

    issuer.answer(document, discovery("https://somebody.else", &issuer.url("/keys")));
    let error = fetcher.fetch(&source, &Cache::default()).await.unwrap_err();
    assert!(error.to_string().contains("is that of another issuer"), "{error}");
    issuer.answer(document, discovery(&id, "file:///etc/passwd"));
    assert_eq!(fetcher.fetch(&source, &Cache::default()).await.unwrap_err(), FetchError::Url("file:///etc/passwd".to_owned()));
}
