//! The files that `kubectl apply` takes, read without a cluster: [`sources`] finds them, [`document`] reads YAML, [`schema`] holds
//! it to what the API server accepts, and [`program`] compiles what is there.

mod classes;
mod document;
mod finding;
mod generated;
mod key_sets;
mod kinds;
mod objects;
mod program;
mod schema;
mod sources;
mod suggestion;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_crds::{DEFAULT_CLASS_ANNOTATION, GROUP, Reason};
use carillon_tenant::{Labels, SecretBytes, TenantId};
use serde::de::DeserializeOwned;
use serde_json::Value;

use document::Document;
pub use finding::{Finding, ObjectName, Place, Severity};
pub use generated::LocalKeys;
pub use objects::{ClassObject, LostClass, SecretObject, Source, TenantObject};
pub use program::{Program, Served};
pub use sources::{SourceFile, Sources};

const API_VERSION: &str = "carillon.dev/v1alpha1";

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Tenants, in the order of files.
    pub tenants: Vec<TenantObject>,
    /// Classes, in the order of files.
    pub classes: Vec<ClassObject>,
    /// Secrets, in the order of files.
    pub secrets: Vec<SecretObject>,
    /// The labels of namespaces.
    pub namespaces: HashMap<Arc<str>, Labels>,
    /// Classes that stood in files which can't be read now.
    pub lost_classes: Vec<LostClass>,
    /// What was found on the way.
    pub findings: Vec<Finding>,
    /// Files some part of which could not be read: what they held before is not gone for good.
    pub unreadable: HashSet<Arc<str>>,
    /// How many documents were read, those that were skipped among them.
    pub documents: usize,
}

impl Manifests {
    /// Takes `files` apart.
    pub fn read(files: &[SourceFile]) -> Self {
        let mut reader = Reader { manifests: Self::default(), places: HashMap::new() };
        for (order, file) in files.iter().enumerate() {
            reader.file(order, file);
        }
        reader.manifests
    }

    /// The Secret of that name.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&SecretObject> {
        self.secrets.iter().find(|secret| &*secret.object.namespace == namespace && &*secret.object.name == name)
    }

    /// The class of that name.
    pub fn class(&self, name: &str) -> Option<&ClassObject> {
        self.classes.iter().find(|class| &*class.object.name == name)
    }
}

struct Reader {
    manifests: Manifests,
    places: HashMap<ObjectName, Place>,
}

impl Reader {
    fn file(&mut self, order: usize, file: &SourceFile) {
        let place = |line| Place { order, file: file.name.clone(), line };
        let text = match &file.text {
            Ok(text) => text,
            Err(error) => {
                self.manifests.unreadable.insert(file.name.clone());
                return self.say(Severity::Error, place(1), None, "", format!("can't be read: {error}"));
            }
        };
        for document in document::read(text) {
            self.manifests.documents += 1;
            match document {
                Ok(document) => self.document(order, &file.name, document),
                Err(error) => {
                    self.manifests.unreadable.insert(file.name.clone());
                    self.say(Severity::Error, place(error.line), None, "", format!("is no YAML: {}", error.message));
                }
            }
        }
    }

    fn document(&mut self, order: usize, file: &Arc<str>, document: Document) {
        let place = |field: &str| Place { order, file: file.clone(), line: document.line_of(field) };
        let (Some(api_version), Some(kind)) = (document.text("/apiVersion"), document.text("/kind")) else {
            return self.say(Severity::Error, place(""), None, "", "is no Kubernetes object: apiVersion and kind are missing".to_owned());
        };
        let namespace = document.text("/metadata/namespace").unwrap_or("default");
        let object = ObjectName {
            kind: kind.into(),
            namespace: if kinds::CLUSTER_SCOPED.contains(&kind) { "" } else { namespace }.into(),
            name: document.text("/metadata/name").unwrap_or("?").into(),
        };
        let schema = match (api_version, kind) {
            (API_VERSION, "RealtimeTenant") => &*kinds::REALTIME_TENANT,
            (API_VERSION, "RealtimeTenantClass") => &*kinds::REALTIME_TENANT_CLASS,
            ("v1", "Secret") => &*kinds::SECRET,
            ("v1", "Namespace") => &*kinds::NAMESPACE,
            (_, "RealtimeTenant" | "RealtimeTenantClass") if api_version.starts_with(GROUP) => {
                let message = format!("{api_version:?} is unknown: write {API_VERSION}");
                return self.say(Severity::Error, place("apiVersion"), Some(object), "apiVersion", message);
            }
            _ => return self.say(Severity::Note, place(""), Some(object), "", format!("skipped: {api_version} {kind} means nothing here")),
        };
        if let Some(first) = self.places.get(&object) {
            let message = format!("is defined twice: first at {first}, which counts");
            return self.say(Severity::Error, place(""), Some(object), "", message);
        }
        self.places.insert(object.clone(), place(""));
        let errors = schema::check(schema, &document.value);
        let sound = errors.is_empty();
        for error in errors {
            self.say(Severity::Error, place(&error.field), Some(object.clone()), &error.field, error.message);
        }
        match kind {
            "Secret" => {
                let (values, errors) = secret_values(&document.value);
                for field in errors {
                    let message = "is no base64: text as it is belongs into stringData".to_owned();
                    self.say(Severity::Error, place(&field), Some(object.clone()), &field, message);
                }
                self.manifests.secrets.push(SecretObject { object, values });
            }
            "Namespace" => {
                let labels = document.value["metadata"]["labels"].as_object().into_iter().flatten();
                let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
                self.manifests.namespaces.insert(object.name, labels.collect());
            }
            "RealtimeTenantClass" => {
                let spec = if sound { self.spec(&object, &document, &place) } else { None };
                // One that forgot the quotes means it, too: it is told, and its tenants don't fall to the built-in quotas meanwhile.
                let annotation = &document.value["metadata"]["annotations"][DEFAULT_CLASS_ANNOTATION];
                let wants_default = annotation == "true" || annotation == true;
                let source = Source { file: file.clone(), order, document };
                self.manifests.classes.push(ClassObject { object, wants_default, spec, source });
            }
            _ => {
                let spec = if sound { self.spec(&object, &document, &place) } else { None };
                let id = document.text("/spec/tenantId").or(document.text("/metadata/name")).and_then(|id| TenantId::new(id).ok());
                let source = Source { file: file.clone(), order, document };
                self.manifests.tenants.push(TenantObject { object, id, spec, source });
            }
        }
    }

    /// The typed spec, of a document that the schema allows.
    fn spec<T: DeserializeOwned>(&mut self, object: &ObjectName, document: &Document, place: &dyn Fn(&str) -> Place) -> Option<T> {
        let spec = without_nulls(&document.value["spec"]);
        match serde_path_to_error::deserialize(spec) {
            Ok(spec) => Some(spec),
            Err(error) => {
                let field = format!("spec.{}", error.path());
                self.say(Severity::Error, place(&field), Some(object.clone()), &field, error.inner().to_string());
                None
            }
        }
    }

    fn say(&mut self, severity: Severity, place: Place, object: Option<ObjectName>, field: &str, message: String) {
        let (reason, field) = (Reason::Invalid, field.to_owned());
        self.manifests.findings.push(Finding { severity, place, object, reason, field, message, elsewhere: false });
    }
}

/// The Secret's values, `stringData` over `data` as the API server merges them, and the fields that are no base64.
fn secret_values(secret: &Value) -> (BTreeMap<String, SecretBytes>, Vec<String>) {
    let (mut values, mut errors) = (BTreeMap::new(), Vec::new());
    let texts = |field: &str| {
        let fields = secret[field].as_object().into_iter().flatten();
        fields.filter_map(|(key, value)| value.as_str().map(|text| (key.clone(), text.to_owned()))).collect::<Vec<_>>()
    };
    for (key, text) in texts("data") {
        // As `base64` prints it, in lines.
        let text: String = text.split_ascii_whitespace().collect();
        match STANDARD.decode(text) {
            Ok(bytes) => _ = values.insert(key, bytes.into()),
            Err(_) => errors.push(format!("data.{key}")),
        }
    }
    values.extend(texts("stringData").into_iter().map(|(key, text)| (key, text.into_bytes().into())));
    (values, errors)
}

/// The API server drops fields that are null; so must who reads in its place.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), without_nulls(value))).collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    }
}
