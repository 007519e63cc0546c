//! What all objects of ours have in common: labels, owner, namespace.
//!
//! In: the resource and the part that an object plays. Out: metadata. The owner's deletion takes the object with it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::{names, terms::Key};

/// The resource that objects are made for.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its kind and name.
    pub key: Key,
    /// Its namespace.
    pub namespace: String,
    /// Its identity.
    pub uid: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
}

impl Owner {
    /// The labels of an object, and of pods made from it.
    #[must_use]
    pub fn labels(&self, component: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = [
            (names::APP, names::RECMESH),
            (names::MANAGED_BY, names::OPERATOR),
            (names::COMPONENT, component),
            (names::KIND, self.key.kind.as_str()),
            (names::NAME, self.key.name.as_str()),
        ];
        own.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Metadata of an object.
    #[must_use]
    pub fn meta(&self, name: &str, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: names::API_VERSION.to_owned(),
                kind: self.key.kind.as_str().to_owned(),
                name: self.key.name.clone(),
                uid: self.uid.clone(),
                controller: Some(true),
                // The right to change the owner's finalizers would be needed to hold it back.
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        }
    }
}

/// A selector of exactly these labels.
#[must_use]
pub fn selector(labels: &[(&str, &str)]) -> LabelSelector {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}
