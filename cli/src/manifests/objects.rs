//! The objects of files that mean something here.

use std::{collections::BTreeMap, sync::Arc};

use carillon_crds::{RealtimeTenantClassSpec, RealtimeTenantSpec};
use carillon_tenant::{SecretBytes, TenantId};

use super::{
    document::Document,
    finding::{ObjectName, Place},
};

/// A document of some file, and where that stands.
#[derive(Debug)]
pub struct Source {
    pub(super) file: Arc<str>,
    pub(super) order: usize,
    pub(super) document: Document,
}

/// A `RealtimeTenant` of some file.
#[derive(Debug)]
pub struct TenantObject {
    /// Its name.
    pub object: ObjectName,
    /// The id that it claims, when that can be told.
    pub id: Option<TenantId>,
    /// What it says; `None` when that is not what the schema allows.
    pub spec: Option<RealtimeTenantSpec>,
    /// Where it says so.
    pub source: Source,
}

/// A `RealtimeTenantClass` of some file.
#[derive(Debug)]
pub struct ClassObject {
    /// Its name.
    pub object: ObjectName,
    /// True when it asks to be the default class.
    pub wants_default: bool,
    /// What it says; `None` when that is not what the schema allows.
    pub spec: Option<RealtimeTenantClassSpec>,
    /// Where it says so.
    pub source: Source,
}

/// A class of a file that can't be read now: whoever is under it keeps what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostClass {
    /// Its name.
    pub name: Arc<str>,
    /// True when it asked to be the default class.
    pub wants_default: bool,
}

/// A `Secret` of some file.
#[derive(Debug)]
pub struct SecretObject {
    /// Its name.
    pub object: ObjectName,
    pub(super) values: BTreeMap<String, SecretBytes>,
}

impl Source {
    /// Where `field` stands.
    pub fn place(&self, field: &str) -> Place {
        Place { order: self.order, file: self.file.clone(), line: self.document.line_of(field) }
    }

    /// The file.
    pub const fn file(&self) -> &Arc<str> {
        &self.file
    }
}

impl SecretObject {
    /// The bytes under `key`.
    pub fn value(&self, key: &str) -> Option<&SecretBytes> {
        self.values.get(key)
    }
}
