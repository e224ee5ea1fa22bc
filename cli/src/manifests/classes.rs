//! The classes of the files, as the operator would know them.

use std::sync::Arc;

use carillon_crds::Reason;
use carillon_tenant::{Class, ClassOutcome, Classes, Labels};

use super::{Finding, Manifests, Severity, TenantObject};

/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Where a class says that it is the default.
const ANNOTATIONS: &str = "metadata.annotations";

/// Compiles every class of `manifests`. Files have no times: of several default classes the first is it.
pub fn compile(manifests: &Manifests, findings: &mut Vec<Finding>) -> Classes {
    let mut classes = Classes::default();
    let mut default = None;
    for class in &manifests.classes {
        let name = &*class.object.name;
        let compiled = class.spec.as_ref().map(|spec| Class::compile(name, spec));
        let finding = |severity, reason, field: &str, message| Finding {
            severity,
            place: class.source.place(field),
            object: Some(class.object.clone()),
            reason,
            field: field.to_owned(),
            message,
            elsewhere: false,
        };
        // What the schema does not allow was told already.
        for rejection in compiled.as_ref().and_then(|compiled| compiled.as_ref().err()).into_iter().flatten() {
            findings.push(finding(Severity::Error, rejection.code.reason(), &rejection.field, rejection.message.clone()));
        }
        classes.insert(name, compiled.and_then(Result::ok).map(Arc::new));
        match (&default, class.wants_default) {
            (None, true) => default = Some(class),
            (Some(first), true) => {
                let message = format!("is not the default class: {:?} ({}) is", first.object.name, first.source.place(""));
                findings.push(finding(Severity::Warning, Reason::NotDefault, ANNOTATIONS, message));
            }
            (_, false) => {}
        }
    }
    let mut lost = manifests.lost_classes.iter().filter(|lost| manifests.class(&lost.name).is_none());
    for class in lost.clone() {
        classes.insert(&class.name, None);
    }
    let lost_default = lost.find(|lost| lost.wants_default).map(|lost| &*lost.name);
    classes.set_default(lost_default.or(default.map(|class| &*class.object.name)));
    classes
}

/// The class that `tenant` is under.
pub fn choose(manifests: &Manifests, classes: &Classes, tenant: &TenantObject) -> ClassOutcome {
    let namespace = &*tenant.object.namespace;
    let mut labels: Labels = manifests.namespaces.get(namespace).cloned().unwrap_or_default();
    labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
    let asked = tenant.spec.as_ref().and_then(|spec| spec.class_name.as_deref());
    classes.choose(asked, namespace, &labels)
}
