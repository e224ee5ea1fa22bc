//! The fleets that one operator serves: which there are, and the Service of each through which its pods are found. Given at the start, and
//! never changed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use carillon_tenant::FleetName;

/// The label of an EndpointSlice that names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// One fleet, as an argument names it: `NAME=SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetArg {
    name: FleetName,
    service: String,
}

impl std::str::FromStr for FleetArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, service) = text.trim().split_once('=').ok_or("write NAME=SERVICE, as in default=carillon-server-admin")?;
        let name = FleetName::new(name).map_err(|error| format!("the name of a fleet {error}"))?;
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if service.is_empty() || service.len() > 63 || !service.bytes().all(label) {
            return Err(format!("fleet {name}: {service:?} is not the name of a Service"));
        }
        Ok(Self { name, service: service.to_owned() })
    }
}

/// Every fleet there is, and its admin Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleets(BTreeMap<FleetName, String>);

impl Fleets {
    /// The fleets of these arguments.
    ///
    /// # Errors
    ///
    /// When one stands twice, two share a Service, or none is the default one.
    pub fn new(arguments: Vec<FleetArg>) -> anyhow::Result<Self> {
        let mut fleets = BTreeMap::new();
        let mut services = BTreeSet::new();
        for FleetArg { name, service } in arguments {
            ensure!(services.insert(service.clone()), "two fleets have the Service {service:?}: each needs one of its own");
            if fleets.insert(name.clone(), service).is_some() {
                bail!("fleet {name} stands twice");
            }
        }
        ensure!(fleets.keys().any(FleetName::is_default), "a fleet named default is needed: it carries tenants whose class names none");
        Ok(Self(fleets))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &FleetName> + Clone {
        self.0.keys()
    }

    /// True when there is one alone, so that nothing can move.
    pub fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// The fleet whose Service has that name.
    pub fn of_service(&self, service: &str) -> Option<&FleetName> {
        self.0.iter().find(|(_, of)| *of == service).map(|(name, _)| name)
    }

    /// Selects the EndpointSlices of all of them.
    pub fn selector(&self) -> String {
        let services: Vec<_> = self.0.values().map(String::as_str).collect();
        format!("{SERVICE_LABEL} in ({})", services.join(","))
    }
}

impl Default for Fleets {
    fn default() -> Self {
        Self([(FleetName::default(), "carillon-server-admin".to_owned())].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleets(arguments: &[&str]) -> Result<Fleets, String> {
        let arguments = arguments.iter().map(|text| text.parse()).collect::<Result<_, String>>()?;
        Fleets::new(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn fleets_are_told_by_name_and_service_and_one_is_the_default() {
        let both = fleets(&["default=carillon-server-admin", "noisy=carillon-admin-noisy"]).unwrap();
        assert_eq!(both.selector(), "kubernetes.io/service-name in (carillon-server-admin,carillon-admin-noisy)");
        assert_eq!(both.of_service("carillon-admin-noisy").map(FleetName::as_str), Some("noisy"));
        assert_eq!((both.of_service("other"), both.is_one()), (None, false));
        for (bad, said) in [
            (&["noisy=a"][..], "a fleet named default is needed"),
            (&["default=a", "default=b"], "stands twice"),
            (&["default=a", "noisy=a"], "two fleets have the Service \"a\""),
            (&["default"], "write NAME=SERVICE"),
            (&["Default=a"], "the name of a fleet may hold only"),
            (&["default=a,b"], "is not the name of a Service"),
            (&["default="], "is not the name of a Service"),
        ] {
            let error = fleets(bad).unwrap_err();
            assert!(error.contains(said), "{bad:?}: {error}");
        }
    }
}
