//! Carries out what the steps want: objects applied, objects deleted, a status written; each only where it differs from
//! what is known.
//!
//! In: an outcome and the resource it is for. Out: writes to the API server, whose answers go into the caches at once.
//! Objects are applied server-side with one field manager and by force, so a hand edit of a field that is ours is put
//! right and a field that is not ours is left alone. An object of the same name that is not ours is never touched. It
//! never tries again by itself.

mod scaled;
pub mod status;
mod subset;

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    core::{ApiResource, ObjectMeta},
};
use recmesh_telemetry::OperatorMetrics;
use serde_json::{Value, json};

use crate::{
    cache::Change,
    controllers::triggers::Triggers,
    failure::Failure,
    names,
    outcome::{Child, ChildKind, ChildRef, Outcome, Subject},
    watches::{
        Caches,
        declared::Declared,
        made::{Made, owner, slim},
    },
};

/// Writes for the operator.
pub struct Applier {
    client: Client,
    caches: Caches,
    triggers: Arc<Triggers>,
    metrics: OperatorMetrics,
    scaled: scaled::Scaled,
}

impl Applier {
    /// Writes through this client.
    #[must_use]
    pub fn new(client: Client, caches: Caches, triggers: Arc<Triggers>, metrics: OperatorMetrics) -> Self {
        Self { client, caches, triggers, metrics, scaled: scaled::Scaled::default() }
    }

    /// Forgets what this replica wrote last, for another may write from now on.
    pub fn forget(&self) {
        self.scaled.clear();
    }

    /// Applies what there must be, in its order, and then deletes what is no longer needed.
    ///
    /// # Errors
    /// The first failure; what comes after it is not tried.
    pub async fn carry_out(&self, subject: &Subject, wanted: &Outcome) -> Result<(), Failure> {
        for child in &wanted.apply {
            match child {
                Child::Job(object) => self.apply(subject, (**object).clone()).await?,
                Child::Deployment(object) => self.apply(subject, (**object).clone()).await?,
                Child::StatefulSet(object) => self.apply(subject, (**object).clone()).await?,
                Child::Service(object) => self.apply(subject, (**object).clone()).await?,
                Child::ConfigMap(object) => self.apply(subject, (**object).clone()).await?,
                Child::PodDisruptionBudget(object) => self.apply(subject, (**object).clone()).await?,
                Child::HorizontalPodAutoscaler(object) => self.apply(subject, (**object).clone()).await?,
                Child::ScaledObject(object) => self.apply_scaled(subject, (**object).clone()).await?,
            }
        }
        for ChildRef { kind, name } in &wanted.delete {
            match kind {
                ChildKind::Job => self.delete::<k8s_openapi::api::batch::v1::Job>(subject, name).await?,
                ChildKind::Deployment => self.delete::<k8s_openapi::api::apps::v1::Deployment>(subject, name).await?,
                ChildKind::StatefulSet => self.delete::<k8s_openapi::api::apps::v1::StatefulSet>(subject, name).await?,
                ChildKind::Service => self.delete::<k8s_openapi::api::core::v1::Service>(subject, name).await?,
                ChildKind::ConfigMap => self.delete::<k8s_openapi::api::core::v1::ConfigMap>(subject, name).await?,
                ChildKind::PodDisruptionBudget => {
                    self.delete::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(subject, name).await?;
                }
                ChildKind::HorizontalPodAutoscaler => {
                    self.delete::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>(subject, name).await?;
                }
                ChildKind::ScaledObject => self.delete_scaled(subject, name).await?,
            }
        }
        Ok(())
    }

    async fn apply<M: Made>(&self, subject: &Subject, mut object: M) -> Result<(), Failure> {
        let name = object.meta().name.clone().unwrap_or_default();
        let what = format!("{} {}/{name}", M::kind(&()), subject.namespace);
        // A field that is wished no more shows in nothing that is still wished: the digest of the whole tells.
        let rendered = rendered(value(&what, &object)?);
        object.meta_mut().annotations.get_or_insert_default().insert(names::RENDERED.to_owned(), rendered);
        let mut wished = value(&what, &object)?;
        let cache = M::cache(&self.caches);
        let api: Api<M> = Api::namespaced(self.client.clone(), &subject.namespace);
        match cache.get(&subject.namespace, &name) {
            // It must be gone before it can be made anew; its end is a change, which leads here again.
            Some(live) if live.meta().deletion_timestamp.is_some() => return Ok(()),
            Some(live) => {
                check_owner(&what, live.meta(), subject)?;
                let live = value(&what, &*live)?;
                keep_immutable(&mut wished, &live);
                if subset::holds(&wished, &live) {
                    return Ok(());
                }
            }
            None => {
                // Only what bears our label is known; a name may be taken by something that does not.
                let taken = api.get_metadata_opt(&name).await.map_err(|error| Failure::new(what.clone(), error))?;
                if let Some(taken) = taken {
                    check_owner(&what, &taken.metadata, subject)?;
                }
            }
        }
        let params = PatchParams::apply(names::OPERATOR).force();
        let written = api.patch(&name, &params, &Patch::Apply(&wished)).await;
        let mut written = written.map_err(|error| Failure::new(what.clone(), error))?;
        tracing::debug!(what, "applied");
        self.metrics.written(kind_label::<M>());
        written.slim();
        if let Some(change) = cache.put(written) {
            self.triggers.child(&change, true);
        }
        Ok(())
    }

    async fn delete<M: Made>(&self, subject: &Subject, name: &str) -> Result<(), Failure> {
        let cache = M::cache(&self.caches);
        let Some(live) = cache.get(&subject.namespace, name) else { return Ok(()) };
        if live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let what = format!("{} {}/{name}", M::kind(&()), subject.namespace);
        check_owner(&what, live.meta(), subject)?;
        let params = DeleteParams::background()
            .preconditions(Preconditions { uid: live.meta().uid.clone(), resource_version: None });
        let api: Api<M> = Api::namespaced(self.client.clone(), &subject.namespace);
        match api.delete(name, &params).await.map_err(|error| Failure::new(what, error)) {
            // Gone already, or another object of this name by now: what was to be deleted is no more.
            Ok(_) | Err(Failure::Ending { .. } | Failure::Conflict { .. }) => {}
            Err(failure) => return Err(failure),
        }
        self.metrics.written(kind_label::<M>());
        if let Some(change) = cache.forget(&live) {
            self.triggers.child(&change, true);
        }
        Ok(())
    }

    /// Writes a status unless it says what is said already. What it has changed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn status<K: Declared>(&self, known: &K, wanted: Value) -> Result<Option<Change<K>>, Failure> {
        let told = known.status();
        let wanted = K::canonical(status::settled(wanted, &told, Timestamp::now()));
        if wanted == told {
            return Ok(None);
        }
        let Subject { kind, namespace, name } = known.subject();
        let what = format!("the status of {kind} {namespace}/{name}");
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let patch = replacing(&what, &wanted)?;
        let written = api.patch_status(&name, &manager(), &patch).await;
        let mut written = written.map_err(|error| Failure::new(what, error))?;
        self.metrics.written("status");
        slim(written.meta_mut());
        Ok(K::cache(&self.caches).put(written))
    }

    /// Writes a condition of a resource that cannot be read, unless it is there already. The resource and what its
    /// status said before; `None` when it is gone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn status_of_unreadable<K: Declared>(
        &self,
        subject: &Subject,
        condition: Value,
    ) -> Result<Option<(ObjectReference, Value)>, Failure> {
        let Subject { kind, namespace, name } = subject;
        let what = format!("the status of {kind} {namespace}/{name}");
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let found = api.get_opt(name).await.map_err(|error| Failure::new(what.clone(), error))?;
        let Some(object) = found else { return Ok(None) };
        let told = object.data.get("status").cloned().unwrap_or_default();
        let mut wanted = told.clone();
        status::put(&mut wanted, condition);
        let wanted = status::settled(wanted, &told, Timestamp::now());
        if wanted != told {
            let patch = replacing(&what, &wanted)?;
            let written = api.patch_status(name, &manager(), &patch).await;
            written.map_err(|error| Failure::new(what, error))?;
            self.metrics.written("status");
        }
        Ok(Some((object.object_ref(&resource), told)))
    }
}

/// Writes bear our name also where they are no apply.
fn manager() -> PatchParams {
    PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() }
}

/// Puts a whole status in the place of what is there, so nothing that others have added to it stays.
fn replacing(what: &str, status: &Value) -> Result<Patch<()>, Failure> {
    let operations = json!([{"op": "add", "path": "/status", "value": status}]);
    match serde_json::from_value(operations) {
        Ok(operations) => Ok(Patch::Json(operations)),
        Err(source) => Err(Failure::Unavailable { what: what.to_owned(), source: kube::Error::SerdeError(source) }),
    }
}

fn value<M: Made>(what: &str, object: &M) -> Result<Value, Failure> {
    serde_json::to_value(object)
        .map_err(|source| Failure::Unavailable { what: what.to_owned(), source: kube::Error::SerdeError(source) })
}

/// Refuses to touch what is not this resource's.
fn check_owner(what: &str, meta: &ObjectMeta, subject: &Subject) -> Result<(), Failure> {
    let message = match owner(meta) {
        Some(owner) if owner == *subject => return Ok(()),
        Some(owner) => format!("the name belongs to {} {}; rename one of the two resources", owner.kind, owner.name),
        None => "there is one already that RecMesh has not made; rename or delete it".to_owned(),
    };
    Err(Failure::Refused { what: what.to_owned(), message })
}

/// Fields of a Job that cannot be changed once it is made.
const IMMUTABLE: [&str; 6] =
    ["template", "selector", "completions", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"];

/// The digest of what of an object can be changed.
fn rendered(mut wished: Value) -> String {
    if is_job(&wished)
        && let Some(spec) = wished.get_mut("spec").and_then(Value::as_object_mut)
    {
        IMMUTABLE.into_iter().for_each(|field| drop(spec.remove(field)));
    }
    names::digest(&wished.to_string())
}

/// A Job's pods cannot be changed once it is made: what is there is wished, so that what can be changed is.
fn keep_immutable(wished: &mut Value, live: &Value) {
    if !is_job(wished) {
        return;
    }
    for field in IMMUTABLE {
        let kept = live.pointer(&format!("/spec/{field}"));
        if let (Some(kept), Some(spec)) = (kept, wished.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.insert(field.to_owned(), kept.clone());
        }
    }
}

fn is_job(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Job")
}

fn kind_label<M: Made>() -> &'static str {
    std::any::type_name::<M>().rsplit("::").next().unwrap_or("object")
}
