use super::*;

#[test]
fn names_are_what_dashboards_ask_for() {
    let metrics = Metrics::default();
    metrics.leads(true);
    metrics.pushed(PushResult::Ok, Duration::from_millis(3));
    metrics.change(Stage::Acknowledged, Duration::from_millis(250));
    let (default, noisy) = (&FleetName::default(), &FleetName::new("noisy").unwrap());
    let pods = [PodState::Programmed, PodState::Programmed, PodState::Troubled].map(|state| (default, state));
    metrics.pods([default, noisy].into_iter(), pods);
    metrics.tenant_moved(None, Some(TenantState::Pending));
    metrics.tenant_moved(Some(TenantState::Pending), Some(TenantState::Ready));
    assert!(!metrics.encode().contains("jwks_oldest"), "nothing was fetched");
    metrics.jwks_fetched("changed", Some(Instant::now()));
    let text = metrics.encode();
    for line in [
        "carillon_operator_reconciles_total{outcome=\"changed\"} 0",
        "carillon_operator_pushes_total{result=\"ok\"} 1",
        "carillon_operator_pushes_total{result=\"conflict\"} 0",
        "carillon_operator_push_duration_seconds_bucket{le=\"0.005\"} 1",
        "carillon_operator_pods{fleet=\"default\",state=\"programmed\"} 2",
        "carillon_operator_pods{fleet=\"default\",state=\"unprogrammed\"} 0",
        "carillon_operator_pods{fleet=\"default\",state=\"troubled\"} 1",
        "carillon_operator_pods{fleet=\"noisy\",state=\"programmed\"} 0",
        "carillon_operator_tenants{state=\"ready\"} 1",
        "carillon_operator_tenants{state=\"pending\"} 0",
        "carillon_operator_status_writes_total{result=\"ok\"} 0",
        "carillon_operator_events_lost_total 0",
        "carillon_operator_leader 1",
        "carillon_operator_jwks_fetches_total{result=\"changed\"} 1",
        "carillon_operator_jwks_fetches_total{result=\"address_refused\"} 0",
        "carillon_operator_change_duration_seconds_bucket{le=\"0.3\",stage=\"acknowledged\"} 1",
        "carillon_operator_change_duration_seconds_count{stage=\"programmed\"} 0",
        "carillon_operator_fuse_blown 0",
        "carillon_operator_definitions_missing_fields 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for name in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "carillon_operator_jwks_oldest_fetch_age_seconds ",
        "process_virtual_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(name)), "{name}\n{text}");
    }
}
