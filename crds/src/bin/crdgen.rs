//! Prints the custom resource definition: `make generate` writes it to `crds/realtimetenants.yaml`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(carillon_crds::realtime_tenant_definition_yaml().as_bytes())
}
