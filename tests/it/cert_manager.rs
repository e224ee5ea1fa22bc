//! Certificates by a real cert-manager, as the chart asks it for them (`tls.certManager.enabled`): nothing that the operator does has a part in
//! it. `make e2e-cert-manager` runs this.

use std::{env, fs, path::Path, process::Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tests::{
    cluster::{SLOW, Team, Tenant, eventually},
    control_plane::{ControlPlane, NAMESPACE, SERVERS},
    file,
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// The three that the chart has it make: the authority, and what it signs.
const AUTHORITY: &str = "carillon-authority";
const SERVER: &str = "carillon-server-tls";
const OPERATOR: &str = "carillon-operator-tls";

/// What is said of a server whose certificate is not believed.
const UNBELIEVED: &str = "TLS handshake failed";

fn given(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this test by `make e2e-cert-manager`"))
}

fn path(kind: &str, name: &str) -> String {
    match kind {
        "secrets" => format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}"),
        kind => format!("/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/{kind}/{name}"),
    }
}

/// Gives the API server what stands in `yaml`.
async fn apply(plane: &ControlPlane, yaml: &str) {
    let documents = yaml.split("\n---\n").filter(|document| document.lines().any(|line| !line.is_empty() && !line.starts_with('#')));
    for document in documents {
        let object: Value = serde_saphyr::from_str(document).expect("it is YAML");
        plane.api.apply(&object).await;
    }
}

/// What the chart wants of cert-manager.
async fn wanted() -> String {
    let mut command = Command::new(given("CARILLON_TEST_HELM"));
    command.args(["template", "carillon"]).arg(file("../charts/carillon")).args(["--namespace", NAMESPACE]);
    command.args(["--set", "tls.certManager.enabled=true", "--show-only", "templates/certificates.yaml"]);
    let output = command.output().await.expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the chart is text")
}

fn start(plane: &ControlPlane, log: &Path) -> Child {
    let output = fs::File::create(log).expect("the test's folder takes files");
    let mut command = Command::new(given("CARILLON_TEST_CERT_MANAGER"));
    command.arg("--kubeconfig").arg(plane.server.kubeconfig()).args(["--leader-elect=false", "--v=1"]);
    command.arg("--metrics-listen-address=127.0.0.1:0");
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can have two handles")).stderr(output).kill_on_drop(true);
    command.spawn().expect("cert-manager is built")
}

/// One file of a Secret, when it is there.
async fn secret(plane: &ControlPlane, name: &str, key: &str) -> Option<String> {
    let secret = plane.api.get(&path("secrets", name)).await?;
    let value = STANDARD.decode(secret["data"][key].as_str()?).expect("Secrets are base64");
    Some(String::from_utf8(value).expect("PEM is text"))
}

/// Has it make a Secret anew, as `cmctl renew` does, and waits until it has.
async fn renew(plane: &ControlPlane, name: &str) {
    let before = secret(plane, name, "tls.crt").await;
    let object = plane.api.get(&path("certificates", name)).await.expect("the chart asks for it");
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "Issuing");
    conditions.push(json!({
        "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": object["metadata"]["generation"],
    }));
    plane.api.patch(&format!("{}/status", path("certificates", name)), &json!({"status": {"conditions": conditions}})).await;
    eventually(SLOW, &format!("{name} is made anew"), async || {
        let now = secret(plane, name, "tls.crt").await;
        if now.is_some() && now != before { Ok(()) } else { Err(now) }
    })
    .await;
}

/// Brings a Secret to where it is mounted, as kubelets do.
async fn mount(plane: &ControlPlane, name: &str, folder: &Path) {
    for key in ["ca.crt", "tls.crt", "tls.key"] {
        let content = secret(plane, name, key).await.unwrap_or_else(|| panic!("{name} has no {key}"));
        fs::write(folder.join(key), content).expect("the test's folder takes files");
    }
}

/// Since when the certificate is valid that a server shows.
async fn shown_since(plane: &ControlPlane, server: usize) -> f64 {
    plane.fleet.metric(server, r#"carillon_admin_certificate_start_timestamp_seconds{certificate="server""#).await
}

/// Brings the servers' Secret to them, and waits until each shows what is in it.
async fn mount_at_servers(plane: &ControlPlane) {
    let mut before = Vec::new();
    for server in 0..SERVERS {
        before.push(shown_since(plane, server).await);
    }
    mount(plane, SERVER, plane.fleet.folder()).await;
    for (server, before) in before.into_iter().enumerate() {
        eventually(SLOW, "the server shows what is mounted", async || match shown_since(plane, server).await {
            since if since == before => Err(since),
            _ => Ok(()),
        })
        .await;
    }
}

/// A new operator reaches every server by what both sides have mounted now, and is not refused once.
async fn both_sides_agree(plane: &ControlPlane, team: &Team<'_>, tenant: &Tenant, times: usize) {
    let operator = plane.operator(&format!("operator-{times}")).await;
    for more in 0..5 {
        team.change(tenant, &json!({"quotas": {"connections": {"max": 100 * times + more}}})).await;
    }
    let log = operator.log();
    // Whose certificate a server doesn't believe sees its connection break.
    assert!(!log.contains("pod has trouble"), "{log}");
    operator.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cert-manager: make e2e-cert-manager"]
async fn what_cert_manager_makes_and_renews_is_taken_up_by_both_sides() {
    let plane = ControlPlane::start_without_faults(SERVERS).await;
    for definition in fs::read_dir(given("CARILLON_TEST_CERT_MANAGER_CRDS")).expect("its definitions are there") {
        let path = definition.expect("a folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let yaml = fs::read_to_string(path).expect("a definition is text");
            // They are meant for a chart of its own.
            apply(&plane, &yaml.lines().filter(|line| !line.contains("{{")).collect::<Vec<_>>().join("\n")).await;
        }
    }
    for kind in ["certificates", "issuers", "certificaterequests"] {
        let path = format!("/apis/cert-manager.io/v1/{kind}");
        eventually(SLOW, "the API server knows it", async || if plane.api.serves(&path).await { Ok(()) } else { Err(path.clone()) }).await;
    }
    let log = plane.operator_folder().join("cert-manager.log");
    let _cert_manager = start(&plane, &log);
    apply(&plane, &wanted().await).await;
    for name in [AUTHORITY, SERVER, OPERATOR] {
        eventually(SLOW, &format!("{name} is made"), async || match secret(&plane, name, "ca.crt").await {
            Some(_) => Ok(()),
            None => Err(fs::read_to_string(&log).unwrap_or_default()),
        })
        .await;
    }

    // At first the servers' are others, of an authority that the operator doesn't believe.
    mount(&plane, OPERATOR, plane.operator_folder()).await;
    let operator = plane.operator("first").await;
    let team = Team::new(&plane.api).await;
    let tenant = team.tenant_of_id("acme", "acme").await;
    team.status(&tenant, "no server is believed", |status, _| status["fleet"]["lagging"][0]["reason"] == UNBELIEVED).await;
    mount_at_servers(&plane).await;
    team.in_force(&tenant).await;
    operator.terminate().await;

    // They are renewed at different times, the authority among them: in any order each believes what the other shows.
    let mut times = 0;
    for order in [[SERVER, OPERATOR, AUTHORITY], [SERVER, AUTHORITY, OPERATOR], [AUTHORITY, OPERATOR, SERVER]] {
        for name in order {
            renew(&plane, name).await;
            match name {
                SERVER => mount_at_servers(&plane).await,
                OPERATOR => mount(&plane, OPERATOR, plane.operator_folder()).await,
                _ => {}
            }
            times += 1;
            both_sides_agree(&plane, &team, &tenant, times).await;
        }
    }
}
