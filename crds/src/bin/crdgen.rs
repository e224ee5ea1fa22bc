//! Prints the custom resource definition: `make generate` writes it to `crds/realtimetenants.yaml`.

fn main() {
    print!("{}", carillon_crds::realtime_tenant_definition_yaml());
}
