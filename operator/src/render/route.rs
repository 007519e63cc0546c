//! The ConfigMap that tells gateways of a pipeline.
//!
//! In: what they are to be told. Out: one object, found by its label. It is also the only place where the operator keeps
//! what it told them last.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use recmesh_contract::config::RouteFile;

use super::meta::Owner;
use crate::{names, outcome::Child};

/// The ConfigMap with a pipeline's route.
#[must_use]
pub fn route(owner: &Owner, file: &RouteFile) -> Child {
    let pipeline = owner.key.name.as_str();
    let labels = owner.labels(names::ROUTE, &[(names::ROUTED, pipeline)]);
    let metadata = owner.meta(&names::route(pipeline), labels);
    let text = serde_json::to_string(file).unwrap_or_default();
    let data = Some(BTreeMap::from([(names::ROUTE_FILE.to_owned(), text)]));
    Child::ConfigMap(Box::new(ConfigMap { metadata, data, ..ConfigMap::default() }))
}
