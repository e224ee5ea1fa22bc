//! Classes and namespaces among the things that tenants follow.

use carillon_tenant::Labels;

use super::Index;
use crate::classes::{ClassObject, Classes};

impl Index {
    /// Every class, and who is under it.
    pub const fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The same, to note what was told of a class.
    pub const fn classes_mut(&mut self) -> &mut Classes {
        &mut self.classes
    }

    /// Takes up a new or changed class: exactly its tenants are compiled anew.
    pub fn class_seen(&mut self, object: ClassObject) {
        let tenants = self.classes.apply(object);
        self.changes.unresolved.extend(tenants);
    }

    /// Forgets a class.
    pub fn class_gone(&mut self, name: &str) {
        let tenants = self.classes.remove(name);
        self.changes.unresolved.extend(tenants);
    }

    /// Takes up a namespace's labels.
    pub fn namespace_seen(&mut self, name: &str, labels: Labels) {
        let tenants = self.classes.namespace_seen(name, labels);
        self.changes.unresolved.extend(tenants);
    }

    /// Forgets a namespace.
    pub fn namespace_gone(&mut self, name: &str) {
        self.classes.namespace_gone(name);
    }
}
