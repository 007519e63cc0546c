//! KEDA's `ScaledObject`s, whose kind may not be installed: applied like everything else, but not watched.
//!
//! In: the wished object. Out: a write when it is not what this process wrote last. What a hand changes on one is put
//! right when its model changes next or the operator starts anew; a watch of a kind that is not there would never end
//! its first list.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

use super::{Applier, check_owner};
use crate::{failure::Failure, names, outcome::Subject};

/// What was written last, by namespace and name; `None` for what was deleted.
#[derive(Default)]
pub(super) struct Scaled(Mutex<HashMap<(String, String), Option<Value>>>);

impl Scaled {
    fn get(&self, key: &(String, String)) -> Option<Option<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn put(&self, key: (String, String), value: Option<Value>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }
}

impl Applier {
    pub(super) async fn apply_scaled(&self, subject: &Subject, object: DynamicObject) -> Result<(), Failure> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let key = (subject.namespace.clone(), name.clone());
        let what = format!("ScaledObject {}/{name}", subject.namespace);
        let failed = |error| Failure::new(what.clone(), error);
        let wished = serde_json::to_value(&object).map_err(|error| failed(kube::Error::SerdeError(error)))?;
        if self.scaled.get(&key) == Some(Some(wished.clone())) {
            return Ok(());
        }
        let api = self.scaled_api(&subject.namespace);
        if let Some(taken) = api.get_metadata_opt(&name).await.map_err(failed)? {
            check_owner(&what, &taken.metadata, subject)?;
        }
        let params = PatchParams::apply(names::OPERATOR).force();
        api.patch(&name, &params, &Patch::Apply(&object)).await.map_err(failed)?;
        self.metrics.written("ScaledObject");
        self.scaled.put(key, Some(wished));
        Ok(())
    }

    pub(super) async fn delete_scaled(&self, subject: &Subject, name: &str) -> Result<(), Failure> {
        let key = (subject.namespace.clone(), name.to_owned());
        if self.scaled.get(&key) == Some(None) {
            return Ok(());
        }
        let what = format!("ScaledObject {}/{name}", subject.namespace);
        let api = self.scaled_api(&subject.namespace);
        let found = api.get_metadata_opt(name).await.map_err(|error| Failure::new(what.clone(), error));
        match found {
            Ok(Some(found)) => {
                check_owner(&what, &found.metadata, subject)?;
                match api.delete(name, &DeleteParams::background()).await {
                    Ok(_) => self.metrics.written("ScaledObject"),
                    Err(error) => match Failure::new(what, error) {
                        Failure::Ending { .. } => {}
                        failure => return Err(failure),
                    },
                }
            }
            // Without the kind there is none.
            Ok(None) | Err(Failure::Ending { .. } | Failure::Refused { .. }) => {}
            Err(failure) => return Err(failure),
        }
        self.scaled.put(key, None);
        Ok(())
    }

    fn scaled_api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::from_gvk(&kind))
    }
}
