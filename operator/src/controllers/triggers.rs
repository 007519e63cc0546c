//! What a change in the cluster means: which resources must be looked at again.
//!
//! | change | looked at again |
//! |---|---|
//! | a resource's generation, labels, deletion; its status by another hand | it, and whoever it affects |
//! | what others read of its status, by our own hand | whoever it affects |
//! | an object of ours, by another hand | the resource that it was made for |
//! | a route, by any hand | whoever its pipeline affects |
//! | what a job told | its resource |
//! | what gateways told | every pipeline, and whoever pipelines affect |
//!
//! Nothing is looked at before a leader calls [`Triggers::begin`], which wishes a look at everything.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kube::Resource;
use recmesh_crds::Kind;
use serde_json::Value;
use tokio::sync::Notify;

use super::{Steps, dispatch::Queues};
use crate::{
    cache::Change,
    names,
    outcome::Subject,
    watches::{
        declared::{Declared, subject},
        made::{Made, owner},
        unreadable::Unreadable,
    },
    world::World,
};

/// Turns changes into wishes to look.
pub struct Triggers {
    world: World,
    steps: Steps,
    queues: Queues,
    unreadable: Unreadable,
    /// Told when a pipeline may begin to wait for gateways.
    gateways: Arc<Notify>,
    begun: AtomicBool,
}

impl Triggers {
    /// Wishes go to these queues.
    #[must_use]
    pub fn new(world: World, steps: Steps, queues: Queues, unreadable: Unreadable, gateways: Arc<Notify>) -> Self {
        Self { world, steps, queues, unreadable, gateways, begun: AtomicBool::new(false) }
    }

    /// Wishes a look at every resource, and from now on at what changes.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
        let World { datasets, tokenizers, retrieval_models, ranking_models, training_jobs, .. } = &self.world;
        let World { evaluation_jobs, pipelines, .. } = &self.world;
        let wish = |subjects: Vec<Subject>| subjects.into_iter().for_each(|subject| self.queues.wish(subject));
        wish(datasets.state().iter().map(|one| one.subject()).collect());
        wish(tokenizers.state().iter().map(|one| one.subject()).collect());
        wish(training_jobs.state().iter().map(|one| one.subject()).collect());
        wish(retrieval_models.state().iter().map(|one| one.subject()).collect());
        wish(ranking_models.state().iter().map(|one| one.subject()).collect());
        wish(evaluation_jobs.state().iter().map(|one| one.subject()).collect());
        wish(pipelines.state().iter().map(|one| one.subject()).collect());
        wish(self.unreadable.subjects());
    }

    /// Wishes no more looks.
    pub fn end(&self) {
        self.begun.store(false, Ordering::Relaxed);
        self.queues.clear();
    }

    /// A resource has changed: by our own write of its status, or by any other hand.
    pub fn resource<K: Declared>(&self, change: &Change<K>, own: bool) {
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        let (Some(any), old, new) = (change.new.as_ref().or(change.old.as_ref()), &change.old, &change.new) else {
            return;
        };
        let subject = subject(K::KIND, any.meta());
        if K::KIND == Kind::Pipeline {
            self.gateways.notify_one();
        }
        let facts = |one: &Option<Arc<K>>| {
            one.as_ref().map(|one| {
                let meta = one.meta();
                (meta.uid.clone(), meta.generation, meta.labels.clone(), meta.deletion_timestamp.is_some())
            })
        };
        let status = |one: &Option<Arc<K>>| one.as_ref().map(|one| one.status());
        let (before, after) = (status(old), status(new));
        let declared = facts(old) != facts(new);
        if declared || (!own && before != after) {
            self.queues.wish(subject.clone());
        }
        if declared || before.map(read_by_others) != after.map(read_by_others) {
            self.affected(&subject);
        }
    }

    /// An object of ours has changed: by our own write, or by any other hand.
    pub fn child<K: Made>(&self, change: &Change<K>, own: bool) {
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        let Some(meta) = change.new.as_ref().or(change.old.as_ref()).map(|one| one.meta()) else { return };
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && same(&**old, &**new)
        {
            return;
        }
        let Some(owner) = owner(meta) else { return };
        if meta.labels.as_ref().is_some_and(|labels| labels.contains_key(names::ROUTED)) {
            self.affected(&owner);
        }
        if !own {
            self.queues.wish(owner);
        }
    }

    /// A resource must be looked at again.
    pub fn look(&self, subject: Subject) {
        if self.begun.load(Ordering::Relaxed) {
            self.queues.wish(subject);
        }
    }

    /// Gateways have told something new.
    pub fn gateways(&self) {
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        let mut looks = BTreeSet::new();
        for pipeline in self.world.pipelines.state() {
            let pipeline = subject(Kind::Pipeline, pipeline.meta());
            looks.extend((self.steps.affected)(&self.world, &pipeline));
            looks.insert(pipeline);
        }
        looks.into_iter().for_each(|subject| self.queues.wish(subject));
    }

    fn affected(&self, subject: &Subject) {
        for other in (self.steps.affected)(&self.world, subject) {
            self.queues.wish(other);
        }
    }
}

/// What other resources may read of a status: all but what moves while work is done.
fn read_by_others(mut status: Value) -> Value {
    if let Value::Object(fields) = &mut status {
        fields.retain(|name, _| !matches!(name.as_str(), "progress" | "observedGeneration"));
        if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
            for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
                condition.retain(|name, _| matches!(name.as_str(), "type" | "status" | "reason"));
            }
        }
    }
    status
}

/// Whether two versions of an object differ in nothing but their count.
fn same<K: Made>(old: &K, new: &K) -> bool {
    let mut old = old.clone();
    old.meta_mut().resource_version.clone_from(&new.meta().resource_version);
    old == *new
}
