//! `GET /routes` of the admin port: which releases this gateway has warmed and which it serves.
//!
//! In: the table. Out: contract's `RoutesReport`. The operator moves a pipeline to its next release when every ready
//! gateway tells here that it is warmed.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use recmesh_contract::{
    Name,
    config::{ReleaseState, RoutesReport},
};

use crate::{app::Inner, discovery::Known, reply, route::Served, table::Table};

/// `GET /routes`.
pub(crate) async fn routes(State(gateway): State<Arc<Inner>>) -> Response {
    reply::probe(true, &report(&gateway.routes.now()))
}

fn report(table: &Table) -> RoutesReport {
    let mut releases = Vec::new();
    for pipeline in table.pipelines.values() {
        let Some(known) = &pipeline.known else { continue };
        releases.extend(pipeline.current.as_ref().map(|served| state(known, served, true)));
        releases.extend(known.candidate.as_ref().map(|served| state(known, served, false)));
    }
    RoutesReport { releases }
}

/// A release as it is now: workers that were there and are gone are waited for again.
fn state(known: &Known, served: &Served, serving: bool) -> ReleaseState {
    let cold = served.steps().filter(|(_, pooled)| !pooled.stage.ready()).map(|(_, pooled)| {
        let why = known.pools.get(&pooled.pool).and_then(|pool| pool.waiting());
        (pooled.pool.clone(), why.unwrap_or_else(|| "no worker has answered yet".to_owned()))
    });
    let waiting: BTreeMap<Name, String> = cold.collect();
    ReleaseState {
        namespace: known.namespace.clone(),
        pipeline: known.pipeline.clone(),
        release: served.release.name.clone(),
        serving,
        warmed: waiting.is_empty(),
        waiting,
    }
}
