//! Which generations of a resource's pools are still needed, besides those that are wanted.
//!
//! In: what its workers are told, all routes, what gateways tell. Out: the generations that stay. One that a route names
//! always stays; one that no route names any more stays until every ready gateway has turned to what its routes say.

use recmesh_contract::{
    Name,
    config::{Affinity, PoolPlace, Serves},
};

use super::rollout::Gateways;
use crate::{
    here::{Here, label, name_of, read_route},
    names,
    terms::{Generation, Key},
};

/// The generations of a resource's pools that there are and that are needed although `wanted` does not list them.
#[must_use]
pub fn kept(here: &Here<'_>, owner: &Key, wanted: &[Generation]) -> Vec<Generation> {
    let mut there = existing(here, owner);
    there.retain(|it| !wanted.iter().any(|other| other.name() == it.name() && other.place == it.place));
    if there.is_empty() {
        return there;
    }
    let routes = here.routes();
    let texts: Vec<&String> = routes.iter().filter_map(|map| map.data.as_ref()?.get(names::ROUTE_FILE)).collect();
    let named = |it: &Generation| {
        let quoted = format!("\"{}\"", it.name());
        texts.iter().any(|text| text.contains(&quoted))
    };
    let settled = settled(here);
    there.retain(|it| !settled || named(it));
    there
}

/// Generations as their workers' ConfigMaps tell them.
fn existing(here: &Here<'_>, owner: &Key) -> Vec<Generation> {
    let mut all = Vec::new();
    for (map, told) in here.told_workers(owner.kind, &owner.name) {
        let Ok(service) = Name::new(name_of(map.as_ref())) else { continue };
        let user = map.metadata.annotations.as_ref().and_then(|it| it.get(names::AFFINITY)).is_some();
        let affinity = if user { Affinity::User } else { Affinity::None };
        let Some(pool) = label(&map.metadata, names::POOL) else { continue };
        for config in told.pools {
            let hex = config.name.as_str().rsplit('-').next().unwrap_or_default().to_owned();
            let version = match &config.serves {
                Serves::Tokenize { tokenizer, .. } => tokenizer.version.to_string(),
                Serves::Retrieve { model, .. } | Serves::Rank { model, .. } => model.version.to_string(),
            };
            let place = PoolPlace { service: service.clone(), affinity };
            all.push(Generation { owner: owner.clone(), pool: pool.to_owned(), hex, config, version, place });
        }
    }
    all
}

/// Whether every ready gateway sends the requests of this namespace where its routes say, and nowhere else. Without
/// gateways nobody sends any.
fn settled(here: &Here<'_>) -> bool {
    if here.config().gateway.is_none() {
        return true;
    }
    let gateways = Gateways { reports: here.world.told.gateways() };
    let current: Vec<String> =
        here.routes().iter().filter_map(|map| read_route(map)?.current).map(|route| route.release.name).collect();
    let elsewhere = gateways
        .reports
        .values()
        .flatten()
        .flat_map(|report| &report.releases)
        .any(|it| it.namespace == here.namespace && it.serving && !current.contains(&it.release));
    let answered = !gateways.reports.is_empty() && gateways.reports.values().all(Option::is_some);
    answered && !elsewhere && current.iter().all(|release| gateways.all_serve(here.namespace, release))
}
