//! Resources that cannot be read: stored by a newer or an older definition of their kind, or damaged by hand.
//!
//! In: what a watch could not decode. Out: for each such resource, the reason and the generation it was read at. A
//! kind's other resources go on, and the last readable version of this one, where there was one, stays in the cache, so
//! whoever refers to it goes on too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::core::error_boundary::InvalidObject;

use crate::outcome::Subject;

/// Why a resource cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The decoder's words.
    pub error: String,
    /// The generation.
    pub generation: Option<i64>,
    /// Which object of this name.
    pub uid: Option<String>,
}

/// Every resource that cannot be read. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Unreadable(Arc<Mutex<HashMap<Subject, Reason>>>);

impl Unreadable {
    /// Why a resource cannot be read, if it cannot.
    #[must_use]
    pub fn get(&self, subject: &Subject) -> Option<Reason> {
        self.with(|all| all.get(subject).cloned())
    }

    /// Notes that a resource cannot be read; whether that is new.
    pub fn put(&self, subject: Subject, object: &InvalidObject) -> bool {
        let meta = &object.metadata;
        let reason = Reason { error: object.error.clone(), generation: meta.generation, uid: meta.uid.clone() };
        self.with(|all| all.insert(subject, reason.clone()) != Some(reason))
    }

    /// Notes that a resource can be read, or is gone; whether that is new.
    pub fn clear(&self, subject: &Subject) -> bool {
        self.with(|all| all.remove(subject).is_some())
    }

    /// Those that cannot be read.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        self.with(|all| all.keys().cloned().collect())
    }

    fn with<T>(&self, what: impl FnOnce(&mut HashMap<Subject, Reason>) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
