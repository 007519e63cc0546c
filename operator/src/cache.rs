//! The objects of one kind as they are known here: what watches tell, and at once what our own writes were answered.
//!
//! ```text
//! watch of each namespace ─► hear ─┐
//!                                  ├─► Store (read by the pure steps) ─► Change
//! answer to our own write ─► put ──┘
//! ```
//!
//! Answers are put in, so a step that runs before the watch has caught up sees what was just written and does not write
//! it again. The API server counts versions of objects up within a kind, so an answer that is older than what the watch
//! has told is dropped: the object may have been changed or deleted since. One cache may have several watches, one a
//! namespace; it is complete when each has listed once. It never asks the API server for anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{
    Resource,
    runtime::{
        reflector::{
            ObjectRef, Store,
            store::{Writer, WriterDropped},
        },
        watcher::Event,
    },
};

/// An object before and after; `None` where it was not, or is no longer.
#[derive(Debug)]
pub struct Change<K> {
    /// Before.
    pub old: Option<Arc<K>>,
    /// After.
    pub new: Option<Arc<K>>,
}

/// The known objects of one kind. Clones share them.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    inner: Arc<Mutex<Inner<K>>>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), inner: Arc::clone(&self.inner) }
    }
}

struct Inner<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    /// By namespace; the empty name is all of them.
    watches: BTreeMap<String, Watch>,
    complete: bool,
}

/// How far one watch is.
#[derive(Default)]
struct Watch {
    /// The newest version it has told of.
    newest: u128,
    listing: Option<Listing>,
    listed: bool,
}

/// A list that is being told.
#[derive(Default)]
struct Listing {
    told: BTreeSet<(String, String)>,
    /// What we wrote since it began: it may be newer than the list, or missing in it.
    put: BTreeSet<(String, String)>,
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + 'static> Cache<K> {
    /// An empty cache of these namespaces; of all, where none is named.
    #[must_use]
    pub fn new(namespaces: &[String]) -> Self {
        let writer = Writer::<K>::default();
        let names = if namespaces.is_empty() { &[String::new()] } else { namespaces };
        let watches = names.iter().map(|name| (name.clone(), Watch::default())).collect();
        Self { store: writer.as_reader(), inner: Arc::new(Mutex::new(Inner { writer, watches, complete: false })) }
    }

    /// What readers read.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Ends when every watch has listed once.
    ///
    /// # Errors
    /// When the cache is dropped before.
    pub async fn complete(&self) -> Result<(), WriterDropped> {
        self.store.wait_until_ready().await
    }

    /// Whether every watch has listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lock().complete
    }

    /// Takes what the watch of a namespace (the empty name: of all) tells. A list that is told anew is compared with
    /// what is known, so deletions that the watch has missed are changes too. Until the cache is complete there are no
    /// changes, only contents.
    pub fn hear(&self, namespace: &str, event: Event<K>) -> Vec<Change<K>> {
        let mut inner = self.lock();
        let mut changes = Vec::new();
        let Some(watch) = inner.watches.get_mut(namespace) else { return changes };
        match event {
            Event::Init => {
                // A list is what there is, even where a restored backup has set the count back.
                *watch = Watch { listed: watch.listed, listing: Some(Listing::default()), newest: 0 };
            }
            Event::InitApply(object) => {
                watch.newest = watch.newest.max(version(&object));
                let listing = watch.listing.get_or_insert_default();
                let trusted = !listing.put.contains(&key(&object));
                listing.told.insert(key(&object));
                changes.extend(inner.set(&self.store, object, trusted));
            }
            Event::InitDone => {
                watch.listed = true;
                let listing = watch.listing.take().unwrap_or_default();
                for object in self.store.state() {
                    let key = key(&*object);
                    let here = namespace.is_empty() || key.0 == namespace;
                    if here && !listing.told.contains(&key) && !listing.put.contains(&key) {
                        changes.extend(inner.remove(&self.store, (*object).clone()));
                    }
                }
                if !inner.complete && inner.watches.values().all(|watch| watch.listed) {
                    inner.complete = true;
                    inner.announce(&self.store);
                    return Vec::new();
                }
            }
            Event::Apply(object) => {
                watch.newest = watch.newest.max(version(&object));
                changes.extend(inner.set(&self.store, object, false));
            }
            Event::Delete(object) => {
                watch.newest = watch.newest.max(version(&object));
                changes.extend(inner.remove(&self.store, object));
            }
        }
        if inner.complete { changes } else { Vec::new() }
    }

    /// Takes the answer to a write of our own.
    pub fn put(&self, object: K) -> Option<Change<K>> {
        let mut inner = self.lock();
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let name = if inner.watches.contains_key(&namespace) { namespace.as_str() } else { "" };
        let watch = inner.watches.get_mut(name)?;
        // The watch is past this answer, so it has told it already, and perhaps what came after it.
        if watch.newest >= version(&object) {
            return None;
        }
        if let Some(listing) = &mut watch.listing {
            listing.put.insert(key(&object));
        }
        inner.set(&self.store, object, false)
    }

    /// Drops an object that we have deleted; the watch will tell the same.
    pub fn forget(&self, object: &K) -> Option<Change<K>> {
        self.lock().remove(&self.store, object.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + 'static> Inner<K> {
    /// Keeps an object unless what is kept is newer; with `trusted`, unless it is the same.
    fn set(&mut self, store: &Store<K>, object: K, trusted: bool) -> Option<Change<K>> {
        let reference = ObjectRef::from_obj(&object);
        let old = store.get(&reference);
        if let Some(old) = &old
            && old.meta().uid == object.meta().uid
        {
            let (kept, told) = (version(&**old), version(&object));
            if kept == told || (kept > told && !trusted) {
                return None;
            }
        }
        self.writer.apply_watcher_event(&Event::Apply(object));
        Some(Change { old, new: store.get(&reference) })
    }

    fn remove(&mut self, store: &Store<K>, object: K) -> Option<Change<K>> {
        let old = store.get(&ObjectRef::from_obj(&object));
        self.writer.apply_watcher_event(&Event::Delete(object));
        old.map(|old| Change { old: Some(old), new: None })
    }

    /// Tells readers that the contents are complete: the writer counts a whole list only.
    fn announce(&mut self, store: &Store<K>) {
        let contents = store.state();
        self.writer.apply_watcher_event(&Event::Init);
        for object in contents {
            self.writer.apply_watcher_event(&Event::InitApply((*object).clone()));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The API server's count of changes within the kind; comparable since it is a number there.
fn version<K: Resource<DynamicType = ()>>(object: &K) -> u128 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
