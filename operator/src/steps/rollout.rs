//! What gateways are told next: the state machine of one pipeline's route.
//!
//! In: what they are told now, what the pipeline should serve, what they tell. Out: what they are to be told. A release
//! takes requests only once every ready gateway has warmed it; so nothing ever falls back to what is not there.
//!
//! ```text
//! Silent ─► First ─► Serving ◄─► Rolling
//!             └ warmed ┘  └ another ┘ warmed, or reverted
//! ```

use std::{collections::BTreeMap, sync::Arc};

use recmesh_contract::{
    Name,
    config::{PoolPlace, Route, RouteFile, RoutesReport},
};

use crate::terms::Wanted;

/// A step of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing changes.
    Stays,
    /// Gateways are told to warm a release.
    Announces,
    /// The announced release answers.
    Promotes,
    /// The announced release is dropped.
    Reverts,
}

/// What ready gateways tell of the releases of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    /// Each gateway's report by its address; `None` for one that did not answer.
    pub reports: Arc<BTreeMap<String, Option<RoutesReport>>>,
}

impl Gateways {
    /// Whether there is a gateway and each has warmed this release.
    #[must_use]
    pub fn all_warmed(&self, namespace: &str, release: &str) -> bool {
        let warmed = |report: &RoutesReport| {
            let mut known = report.releases.iter();
            known.any(|it| it.namespace == namespace && it.release == release && it.warmed)
        };
        !self.reports.is_empty() && self.reports.values().all(|report| report.as_ref().is_some_and(warmed))
    }

    /// Whether there is a gateway and each sends requests to this release.
    #[must_use]
    pub fn all_serve(&self, namespace: &str, release: &str) -> bool {
        let serves = |report: &RoutesReport| {
            let mut known = report.releases.iter();
            known.any(|it| it.namespace == namespace && it.release == release && it.serving)
        };
        !self.reports.is_empty() && self.reports.values().all(|report| report.as_ref().is_some_and(serves))
    }

    /// Gateways that have reached a pool for this release.
    #[must_use]
    pub fn reached(&self, namespace: &str, release: &str, pool: &Name) -> usize {
        let reached = |report: &&RoutesReport| {
            let mut known = report.releases.iter().filter(|it| it.namespace == namespace && it.release == release);
            known.any(|it| it.warmed || !it.waiting.contains_key(pool))
        };
        self.reports.values().flatten().filter(reached).count()
    }

    /// Why a release is not warmed: each pool that some gateway waits for, with that gateway's words.
    #[must_use]
    pub fn waiting(&self, namespace: &str, release: &str) -> BTreeMap<Name, String> {
        let releases = self.reports.values().flatten().flat_map(|report| &report.releases);
        releases
            .filter(|it| it.namespace == namespace && it.release == release)
            .flat_map(|it| it.waiting.clone())
            .collect()
    }
}

/// What gateways are to be told. `warmed` says whether every ready gateway has warmed a release.
#[must_use]
pub fn next(
    pipeline: &Name,
    now: Option<&RouteFile>,
    wanted: &Wanted,
    warmed: &dyn Fn(&str) -> bool,
) -> (RouteFile, Move) {
    let goal = &wanted.route;
    let same = |route: &Route| route.release.name == goal.release.name;
    let (current, candidate) = now.map_or((None, None), |now| (now.current.as_ref(), now.candidate.as_ref()));
    let (current, candidate, moved) = match (current, candidate) {
        // ## Silent => (First)
        // Nothing answers and nothing warms: the wanted release is announced.
        (None, None) => (None, Some(goal.clone()), Move::Announces),
        // ## First => (Serving)
        // The first release warms. Once it is warm everywhere it answers.
        (None, Some(candidate)) if same(candidate) && warmed(&goal.release.name) => {
            (Some(goal.clone()), None, Move::Promotes)
        }
        (None, Some(candidate)) if same(candidate) => (None, Some(goal.clone()), Move::Stays),
        // ## First => (First)
        // Another release is wanted before the first was warm: it takes its place.
        (None, Some(_)) => (None, Some(goal.clone()), Move::Announces),
        // ## Serving => (Serving)
        // The wanted release answers. How it treats requests may change at once: its workers are the same.
        (Some(current), None) if same(current) => (Some(goal.clone()), None, Move::Stays),
        // ## Serving => (Rolling)
        // Another release is wanted: it is announced, and the current one answers.
        (Some(current), None) => (Some(current.clone()), Some(goal.clone()), Move::Announces),
        // ## Rolling => (Serving)
        // What answers is wanted again: the announced release is dropped.
        (Some(current), Some(_)) if same(current) => (Some(goal.clone()), None, Move::Reverts),
        // The announced release is warm everywhere: it answers.
        (Some(_), Some(candidate)) if same(candidate) && warmed(&goal.release.name) => {
            (Some(goal.clone()), None, Move::Promotes)
        }
        // ## Rolling => (Rolling)
        // It is not: the current one answers, for as long as it takes.
        (Some(current), Some(candidate)) if same(candidate) => (Some(current.clone()), Some(goal.clone()), Move::Stays),
        // A third release is wanted: it takes the announced one's place.
        (Some(current), Some(_)) => (Some(current.clone()), Some(goal.clone()), Move::Announces),
    };
    let pools = [&current, &candidate]
        .into_iter()
        .flatten()
        .flat_map(pools_of)
        .filter_map(|name| {
            let fresh = wanted.generations.iter().find(|generation| generation.name() == name);
            let place = fresh.map(|generation| generation.place.clone());
            let place = place.or_else(|| now.and_then(|now| now.pools.get(name).cloned()));
            place.map(|place| (name.clone(), place))
        })
        .collect::<BTreeMap<Name, PoolPlace>>();
    (RouteFile { pipeline: pipeline.clone(), current, candidate, pools }, moved)
}

/// The route of a pipeline whose route is lost, when its status knows that the wanted release was answering.
#[must_use]
pub fn recovered(pipeline: &Name, wanted: &Wanted, release: Option<&str>) -> Option<RouteFile> {
    (release == Some(wanted.route.release.name.as_str())).then(|| RouteFile {
        pipeline: pipeline.clone(),
        current: Some(wanted.route.clone()),
        candidate: None,
        pools: wanted.generations.iter().map(|it| (it.name().clone(), it.place.clone())).collect(),
    })
}

/// The pools of a route, stage by stage.
pub fn pools_of(route: &Route) -> impl Iterator<Item = &Name> {
    [Some(&route.tokenize), Some(&route.retrieve), route.rank.as_ref(), route.fallback.as_ref()].into_iter().flatten()
}

#[cfg(test)]
mod tests;
