//! A tenant as the API server has it. No I/O.

use carillon_crds::{ConditionType, RealtimeTenantStatus, Reason};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::api::DynamicObject;
use serde_json::Value;

/// A `RealtimeTenant`: what of it tells how it stands.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    pub namespace: String,
    pub name: String,
    pub tenant_id: String,
    pub generation: i64,
    pub deleting: bool,
    /// Empty while there is none that can be read.
    pub status: RealtimeTenantStatus,
}

impl Tenant {
    /// Takes what is needed of an object, whatever else it holds.
    pub fn read(object: DynamicObject) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        let name = metadata.name.unwrap_or_default();
        let tenant_id = data["spec"]["tenantId"].as_str().map_or_else(|| name.clone(), str::to_owned);
        let status = data.get_mut("status").map(Value::take).unwrap_or_default();
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name,
            tenant_id,
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            status: serde_json::from_value(status).unwrap_or_default(),
        }
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
    }

    /// Whether another object holds its tenant id.
    pub fn is_conflicted(&self) -> bool {
        self.condition(ConditionType::Accepted).is_some_and(|accepted| accepted.reason == Reason::Conflicted.as_str())
    }

    /// True when every pod runs what the resource says now, as its status tells.
    pub fn is_in_sync(&self) -> bool {
        !self.deleting && self.is_observed() && self.condition(ConditionType::Ready).is_some_and(|ready| ready.status == "True")
    }

    /// What no waiting mends: the resource says something that can't be used.
    pub fn mistake(&self) -> Option<&Condition> {
        let accepted = self.condition(ConditionType::Accepted).filter(|_| self.is_observed());
        accepted.filter(|accepted| accepted.status == "False" && accepted.reason == Reason::Invalid.as_str())
    }

    /// What keeps the resource, as it is now, from being what pods should run.
    pub fn obstacle(&self) -> Option<String> {
        if self.deleting {
            return Some("being deleted".to_owned());
        }
        if !self.is_observed() {
            return Some("the operator has not looked at it yet".to_owned());
        }
        let conditions = [ConditionType::Accepted, ConditionType::ResolvedRefs].map(|kind| self.condition(kind));
        let bad = conditions.into_iter().flatten().find(|condition| condition.status != "True")?;
        Some(format!("{}: {}", bad.reason, bad.message))
    }

    /// Since when it stands as it does.
    pub fn since(&self) -> Option<Timestamp> {
        let kinds = [ConditionType::Accepted, ConditionType::ResolvedRefs, ConditionType::Programmed];
        let conditions = || kinds.iter().filter_map(|kind| self.condition(*kind));
        let bad = conditions().find(|condition| condition.status != "True");
        bad.or_else(|| conditions().next_back()).map(|condition| condition.last_transition_time.0)
    }

    fn is_observed(&self) -> bool {
        self.status.observed_generation == Some(self.generation)
    }
}
