//! Keeps a server at what the files say, and tells what changed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use carillon_server::config_store::ConfigStore;
use carillon_tenant::{
    Fetched, JwksSource, KeySets, Position, TenantId,
    push::{Elsewhere, FleetSettings, PROTOCOL_VERSION, Snapshot},
};
use tokio::sync::watch;

use crate::manifests::{Finding, LocalKeys, LostClass, Manifests, Program, Served, Severity, SourceFile, Sources};

/// The tenants that the server runs, with what they were made from.
pub type InForce = BTreeMap<TenantId, Arc<Served>>;

/// The files and the server that follows them.
#[derive(Debug)]
pub struct Live {
    sources: Sources,
    store: ConfigStore,
    settings: FleetSettings,
    files: Option<Vec<SourceFile>>,
    /// Tenants by the file they stand in: a file that can't be read any more keeps its own.
    by_file: HashMap<Arc<str>, Vec<TenantId>>,
    /// Classes, likewise: whoever is under one must not fall to the built-in quotas.
    classes_by_file: HashMap<Arc<str>, Vec<LostClass>>,
    /// The key sets that tenants name, and what is known of them.
    wanted_key_sets: BTreeMap<JwksSource, Duration>,
    key_sets: KeySets,
    local_keys: LocalKeys,
    /// What was said already.
    told: Vec<Finding>,
    in_force: watch::Sender<Arc<InForce>>,
}

/// What came of reading the files.
#[derive(Debug, Default)]
pub struct Reload {
    /// Tenants that are new.
    pub added: Vec<TenantId>,
    /// Tenants whose configuration is another.
    pub changed: Vec<TenantId>,
    /// Tenants that are gone.
    pub removed: Vec<TenantId>,
    /// Tenants that keep what they had, because what the files say now can't be used.
    pub kept: Vec<TenantId>,
    /// What there is to say about the files that was not said before.
    pub findings: Vec<Finding>,
    /// How many problems are still there that were told before.
    pub unsolved: usize,
}

impl Live {
    /// Nothing is read yet.
    pub fn new(sources: Sources, store: ConfigStore, settings: FleetSettings, local_keys: LocalKeys) -> Self {
        Self {
            sources,
            store,
            settings,
            files: None,
            by_file: HashMap::new(),
            classes_by_file: HashMap::new(),
            wanted_key_sets: BTreeMap::new(),
            key_sets: KeySets::new(),
            local_keys,
            told: Vec::new(),
            in_force: watch::Sender::default(),
        }
    }

    /// What is in force, now and later.
    pub fn subscribe(&self) -> watch::Receiver<Arc<InForce>> {
        self.in_force.subscribe()
    }

    /// Reads the files and lets the server follow; `None` when they are what they were.
    pub fn reload(&mut self) -> Option<Reload> {
        let files = self.sources.read();
        if self.files.as_ref() == Some(&files) {
            return None;
        }
        let mut manifests = Manifests::read(&files);
        self.files = Some(files);
        let unreadable = self.remember(&manifests);
        manifests.lost_classes = self.remember_classes(&manifests);
        self.wanted_key_sets = manifests.key_sets();
        self.key_sets.retain(|source, _| self.wanted_key_sets.contains_key(source));
        let program = Program::compile_with(manifests, &self.key_sets, &self.local_keys);
        Some(self.apply(program, unreadable))
    }

    /// The key sets that tenants name, with the longest time between two looks at each.
    pub const fn wanted_key_sets(&self) -> &BTreeMap<JwksSource, Duration> {
        &self.wanted_key_sets
    }

    /// Takes up what was fetched.
    pub fn key_set_seen(&mut self, source: JwksSource, fetched: Fetched) -> Reload {
        self.key_sets.insert(source, fetched);
        self.files = None;
        self.reload().unwrap_or_default()
    }

    /// Notes which file holds which tenants; returns those of files that can't be read now.
    fn remember(&mut self, manifests: &Manifests) -> Vec<TenantId> {
        let mut before = std::mem::take(&mut self.by_file);
        for tenant in &manifests.tenants {
            self.by_file.entry(tenant.source.file().clone()).or_default().extend(tenant.id.clone());
        }
        let mut unreadable = Vec::new();
        for file in &manifests.unreadable {
            let held = before.remove(file).unwrap_or_default();
            unreadable.extend(held.clone());
            self.by_file.entry(file.clone()).or_default().extend(held);
        }
        unreadable
    }

    /// Notes which file holds which classes; returns those of files that can't be read now.
    fn remember_classes(&mut self, manifests: &Manifests) -> Vec<LostClass> {
        let mut before = std::mem::take(&mut self.classes_by_file);
        for class in &manifests.classes {
            let lost = LostClass { name: class.object.name.clone(), wants_default: class.wants_default };
            self.classes_by_file.entry(class.source.file().clone()).or_default().push(lost);
        }
        let mut unreadable = Vec::new();
        for file in &manifests.unreadable {
            let held = before.remove(file).unwrap_or_default();
            unreadable.extend(held.clone());
            let known = self.classes_by_file.entry(file.clone()).or_default();
            known.extend(held.into_iter().filter(|held| manifests.class(&held.name).is_none()));
        }
        unreadable
    }

    fn apply(&mut self, program: Program, unreadable: Vec<TenantId>) -> Reload {
        let Program { served, mut keep, findings } = program;
        keep.extend(unreadable);
        let tenants = served.iter().map(|served| served.message.clone()).collect();
        let snapshot = Snapshot {
            protocol_version: PROTOCOL_VERSION,
            position: Position::default(),
            fleet: self.settings.clone(),
            tenants,
            keep: keep.clone(),
            elsewhere: Elsewhere::new(),
        };
        // There is no other who pushes, and each of these snapshots has the same position.
        let answer = self.store.replace(snapshot).expect("no push overtakes the only one who pushes");
        for rejected in answer.rejected {
            tracing::error!(tenant = %rejected.tenant_id, field = rejected.field, "rejected: {}", rejected.message);
        }

        let before = self.in_force.borrow().clone();
        let (old, new): (Vec<_>, Vec<_>) = findings.iter().cloned().partition(|finding| self.told.iter().any(|told| same(told, finding)));
        let unsolved = old.iter().filter(|finding| finding.severity != Severity::Note).count();
        self.told = findings;
        let mut reload = Reload { findings: new, unsolved, ..Reload::default() };
        let mut after = InForce::new();
        for served in served {
            let id = served.message.tenant_id.clone();
            match before.get(&id) {
                None => reload.added.push(id.clone()),
                Some(old) if old.message.config_version != served.message.config_version => reload.changed.push(id.clone()),
                Some(_) => {}
            }
            after.insert(id, Arc::new(served));
        }
        for (id, old) in before.iter().filter(|(id, _)| !after.contains_key(*id)).collect::<Vec<_>>() {
            if keep.contains(id) {
                reload.kept.push(id.clone());
                after.insert(id.clone(), old.clone());
            } else {
                reload.removed.push(id.clone());
            }
        }
        self.in_force.send_replace(Arc::new(after));
        reload
    }
}

/// True when both say the same, if on another line.
fn same(one: &Finding, other: &Finding) -> bool {
    (&one.object, &one.field, &one.message, &one.place.file) == (&other.object, &other.field, &other.message, &other.place.file)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use carillon_server::{fleet::Fleet, metrics::Metrics};
    use carillon_tenant::OriginPolicy;

    use super::*;

    const SECRET: &str =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: a-signing-secret-for-tests-only-0123456789}\n";

    fn tenant(name: &str, id: &str, extra: &str) -> String {
        format!(
            "---\napiVersion: carillon.dev/v1alpha1\nkind: RealtimeTenant\nmetadata: {{name: {name}}}\nspec:\n  tenantId: {id}\n  \
             auth: {{jwt: {{keys: [{{algorithm: HS256, secretKeyRef: {{name: s, key: k}}}}]}}}}\n{extra}"
        )
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("carillon-live-{:016x}", rand::random::<u64>()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn live(folder: &Folder) -> Live {
        let store = ConfigStore::new("boot".to_owned(), OriginPolicy::Any, Arc::new(Metrics::new()), Fleet::alone("pod".to_owned()));
        Live::new(
            Sources::new(std::slice::from_ref(&folder.0)),
            store,
            FleetSettings { session_key: vec![0; 32].into() },
            LocalKeys::passing(),
        )
    }

    fn words(reload: &Reload) -> String {
        let ids = |ids: &[TenantId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        format!("+{} ~{} -{} ={}", ids(&reload.added), ids(&reload.changed), ids(&reload.removed), ids(&reload.kept))
    }

    #[test]
    fn follows_the_files_and_keeps_the_last_good() {
        let folder = Folder::new();
        folder.write("a.yaml", &format!("{}{SECRET}", tenant("a", "one", "")));
        folder.write("b.yaml", &tenant("b", "two", ""));
        let mut live = live(&folder);
        let steps: [(&str, String, &str); 7] = [
            ("c.yaml", tenant("c", "three", ""), "+one,two,three ~ - ="),
            ("b.yaml", tenant("b", "two", "  suspended: true\n"), "+ ~two - ="),
            ("b.yaml", tenant("b", "two", "  suspendde: true\n"), "+ ~ - =two"),
            ("c.yaml", "broken: [".to_owned(), "+ ~ - =three,two"),
            ("b.yaml", tenant("b", "two", "  suspended: true\n"), "+ ~ - =three"),
            ("c.yaml", tenant("c", "one", ""), "+ ~ -three ="),
            // Another object takes the id over; what it says is the same.
            ("a.yaml", SECRET.to_owned(), "+ ~ - ="),
        ];
        for (file, text, expected) in steps {
            folder.write(file, &text);
            let reload = live.reload().expect("the file changed");
            assert_eq!(words(&reload), expected, "{file}");
            let running = live.store.view().tenants().count();
            assert_eq!(running, live.in_force.borrow().len(), "{file}");
        }
        assert!(live.reload().is_none(), "nothing changed");
    }

    #[test]
    fn a_class_takes_effect_and_is_never_lost_by_a_file_that_breaks() {
        let class = |max: u32| {
            format!(
                "---\napiVersion: carillon.dev/v1alpha1\nkind: RealtimeTenantClass\nmetadata:\n  name: standard\n  annotations: \
                 {{carillon.dev/is-default-class: \"true\"}}\nspec:\n  ceilings: {{quotas: {{connections: {{max: {max}}}}}}}\n"
            )
        };
        let folder = Folder::new();
        folder
            .write("a.yaml", &format!("{}{}{SECRET}", tenant("a", "one", ""), tenant("b", "two", "  quotas: {connections: {max: 50}}\n")));
        let mut live = live(&folder);
        let steps: [(&str, String, &str, u32); 7] = [
            ("a.yaml", fs::read_to_string(folder.0.join("a.yaml")).unwrap(), "+one,two ~ - =", 1000),
            ("class.yaml", class(100), "+ ~one - =", 100),
            // What the class doesn't allow any more keeps what it had.
            ("class.yaml", class(20), "+ ~one - =two", 20),
            ("class.yaml", class(200), "+ ~one - =", 200),
            ("class.yaml", "broken: [".to_owned(), "+ ~ - =one,two", 200),
            ("class.yaml", class(200), "+ ~ - =", 200),
            ("class.yaml", String::new(), "+ ~one - =", 1000),
        ];
        for (file, text, expected, connections) in steps {
            folder.write(file, &text);
            let reload = live.reload().expect("the file changed");
            assert_eq!(words(&reload), expected, "{text}");
            let in_force = live.in_force.borrow().clone();
            let one = in_force.iter().find(|(id, _)| id.as_str() == "one").expect("it is served");
            assert_eq!(one.1.message.quotas.connections_max, carillon_tenant::Limit::Max(connections), "{text}");
        }
    }

    #[test]
    fn says_each_problem_once() {
        let folder = Folder::new();
        folder.write("a.yaml", &tenant("a", "one", ""));
        let mut live = live(&folder);
        let counts = |reload: Reload| (reload.findings.len(), reload.unsolved);
        assert_eq!(live.reload().map(counts), Some((1, 0)));
        folder.write("a.yaml", &format!("# further down\n{}", tenant("a", "one", "")));
        assert_eq!(live.reload().map(counts), Some((0, 1)));
        folder.write("a.yaml", &format!("{}{SECRET}", tenant("a", "one", "")));
        assert_eq!(live.reload().map(counts), Some((0, 0)));
        folder.write("a.yaml", &tenant("a", "one", ""));
        assert_eq!(live.reload().map(counts), Some((1, 0)));
    }

    #[test]
    fn the_first_holder_of_an_id_wins() {
        let folder = Folder::new();
        folder.write("a.yaml", &format!("{}{}{SECRET}", tenant("first", "one", ""), tenant("later", "one", "")));
        let reload = live(&folder).reload().unwrap();
        assert_eq!(words(&reload), "+one ~ - =");
        assert_eq!(reload.findings.len(), 1);
        assert_eq!(reload.findings[0].reason, carillon_crds::Reason::Conflicted);
    }
}
