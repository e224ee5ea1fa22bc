//! Every class and namespace, and which tenants depend on them: what changes tells exactly the tenants to compile anew. No I/O and no clock.

mod object;
mod reporting;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use carillon_crds::RealtimeTenantClassStatus;
use carillon_tenant::{Class, ClassOutcome, FleetName, Labels, Rejection};
use std::sync::Arc;

use crate::object::ObjectKey;
pub use object::ClassObject;
pub use reporting::ClassReporting;
pub use status::ClassFacts;

/// Every class and namespace, and who depends on them.
#[derive(Debug, Default)]
pub struct Classes {
    entries: BTreeMap<String, ClassEntry>,
    known: carillon_tenant::Classes,
    namespaces: HashMap<String, Labels>,
    /// Tenants by the class that they name.
    users: HashMap<Option<String>, BTreeSet<ObjectKey>>,
    touched: BTreeSet<String>,
}

/// One class and what became of it.
#[derive(Debug)]
pub struct ClassEntry {
    /// The object as it was last seen.
    pub object: ClassObject,
    /// The status on the API server, as far as is known.
    pub status: Option<RealtimeTenantClassStatus>,
    problems: Vec<Rejection>,
    /// The resource version of the last write of ours: what was seen before it says nothing new about the status.
    written: Option<u64>,
}

/// What a class is to a tenant: `None`, there is no such object; `Some(None)`, it never said anything that can be used.
type Standing = Option<Option<Arc<Class>>>;

impl Classes {
    /// Says which fleets there are.
    pub fn serve(&mut self, fleets: BTreeSet<FleetName>) {
        self.known.set_fleets(fleets);
    }

    /// Takes up a new or changed class; gives the tenants that are to be compiled anew.
    pub fn apply(&mut self, object: ClassObject) -> BTreeSet<ObjectKey> {
        let name = object.name.clone();
        let before = self.standing(&name);
        let previous = self.entries.remove(&name).filter(|entry| entry.object.uid == object.uid);
        let compiled = match &object.spec {
            Ok(spec) => Class::compile(&name, spec),
            Err(rejection) => Err(vec![rejection.clone()]),
        };
        let (class, problems) = match compiled {
            Ok(class) => (Some(Arc::new(class)), Vec::new()),
            // What it said last and could be used stays in force.
            Err(problems) => (before.clone().flatten().filter(|_| previous.is_some()), problems),
        };
        // One that says the same stays the very same.
        let class = before.clone().flatten().filter(|same| Some(same) == class.as_ref()).or(class);
        let written = previous.as_ref().and_then(|entry| entry.written);
        let seen = object.resource_version.parse().ok();
        let status = match previous {
            Some(entry) if written.is_some() && seen < written => entry.status,
            _ => object.status.clone(),
        };
        self.known.insert(&name, class);
        self.entries.insert(name.clone(), ClassEntry { object, status, problems, written });
        self.touched.insert(name.clone());
        self.follow(&name, &before)
    }

    /// Forgets a class; gives the tenants that are to be compiled anew.
    pub fn remove(&mut self, name: &str) -> BTreeSet<ObjectKey> {
        let before = self.standing(name);
        self.entries.remove(name);
        self.known.remove(name);
        self.follow(name, &before)
    }

    /// Takes up a namespace's labels; gives the tenants that are to be compiled anew.
    pub fn namespace_seen(&mut self, name: &str, labels: Labels) -> BTreeSet<ObjectKey> {
        let before = self.namespaces.get(name);
        if before == Some(&labels) {
            return BTreeSet::new();
        }
        let asks = |asked: &Option<String>| {
            self.known.get(asked.as_deref().or(self.known.default_name())?).filter(|class| class.asks_for_labels())
        };
        let changed = |class: &&Arc<Class>| before.map(|before| class.allows(before)) != Some(class.allows(&labels));
        let users = self.users.iter().filter(|(asked, _)| asks(asked).filter(changed).is_some());
        let first = ObjectKey::new(name, "");
        let affected = users.flat_map(|(_, keys)| keys.range(first.clone()..).take_while(|key| key.namespace == name).cloned()).collect();
        self.namespaces.insert(name.to_owned(), labels);
        affected
    }

    /// Forgets a namespace: nothing is in it any more.
    pub fn namespace_gone(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Every class there is.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// Every namespace there is.
    pub fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// One class.
    pub fn get(&self, name: &str) -> Option<&ClassEntry> {
        self.entries.get(name)
    }

    /// The class of a tenant that names `asked`. `None` while its namespace was not seen, and the class asks for labels: to judge it
    /// without them would refuse what is allowed.
    pub fn choose(&self, key: &ObjectKey, asked: Option<&str>) -> Option<ClassOutcome> {
        let class = asked.or(self.known.default_name()).and_then(|name| self.known.get(name));
        let nothing = Labels::new();
        let labels = match self.namespaces.get(&key.namespace) {
            Some(labels) => labels,
            None if class.is_some_and(|class| class.asks_for_labels()) => return None,
            None => &nothing,
        };
        Some(self.known.choose(asked, &key.namespace, labels))
    }

    /// A tenant names `asked`.
    pub fn link(&mut self, key: &ObjectKey, asked: Option<&str>) {
        self.users.entry(asked.map(str::to_owned)).or_default().insert(key.clone());
        self.touched.extend(asked.or(self.known.default_name()).map(str::to_owned));
    }

    /// A tenant doesn't name `asked` any more.
    pub fn unlink(&mut self, key: &ObjectKey, asked: Option<&str>) {
        let asked = asked.map(str::to_owned);
        if let Some(keys) = self.users.get_mut(&asked) {
            keys.remove(key);
            if keys.is_empty() {
                self.users.remove(&asked);
            }
        }
        self.touched.extend(asked.or(self.known.default_name().map(str::to_owned)));
    }

    /// Classes whose status may have changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// What is known of a class.
    pub fn facts(&self, name: &str) -> Option<ClassFacts> {
        let entry = self.entries.get(name)?;
        let is_default = self.known.default_name() == Some(name);
        let count = |asked: Option<&str>| self.users.get(&asked.map(str::to_owned)).map_or(0, BTreeSet::len);
        Some(ClassFacts {
            generation: entry.object.generation,
            problems: entry.problems.clone(),
            fleet_problem: self.known.get(name).and_then(|class| self.known.fleet_problem(class)),
            in_force: self.known.get(name).is_some(),
            is_default,
            older_default: self.known.default_name().filter(|_| entry.object.wants_default && !is_default).map(str::to_owned),
            tenants: count(Some(name)) + if is_default { count(None) } else { 0 },
        })
    }

    /// Notes a status that was written, and the resource version that came of it.
    pub fn status_written(&mut self, name: &str, uid: &str, status: RealtimeTenantClassStatus, resource_version: Option<&str>) {
        if let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.object.uid == uid) {
            entry.status = Some(status);
            entry.written = resource_version.and_then(|version| version.parse().ok());
        }
    }

    fn standing(&self, name: &str) -> Standing {
        self.entries.contains_key(name).then(|| self.known.get(name).cloned())
    }

    /// After `name` changed from what it was `before`: which class is the default now, and whom all that concerns.
    fn follow(&mut self, name: &str, before: &Standing) -> BTreeSet<ObjectKey> {
        let default_before = self.known.default_name().map(str::to_owned);
        let asking = || self.entries.values().map(|entry| &entry.object).filter(|object| object.wants_default);
        let default = asking().min_by_key(|object| (object.created, &object.name)).map(|object| object.name.clone());
        self.known.set_default(default.as_deref());
        let (changed, moved) = (self.standing(name) != *before, default != default_before);
        if moved {
            let asking: Vec<_> = asking().map(|object| object.name.clone()).collect();
            self.touched.extend(asking.into_iter().chain(default_before));
        }
        let users = |asked: Option<&str>| self.users.get(&asked.map(str::to_owned)).into_iter().flatten().cloned();
        let named = changed.then(|| users(Some(name))).into_iter().flatten();
        let nameless = moved || changed && default.as_deref() == Some(name);
        named.chain(nameless.then(|| users(None)).into_iter().flatten()).collect()
    }
}
