//! A pipeline's route: what gateways were told, what they are to be told next, and what is new about it.
//!
//! In: what the pipeline should serve, or why nothing. Out: the ConfigMap. Without a wish nothing moves: what gateways
//! were told stands.

use recmesh_contract::{Name, config::RouteFile};
use recmesh_crds::PipelineStatus;

use super::rollout::{Gateways, Move, next, recovered};
use crate::{
    here::Here,
    outcome::{Child, Notice},
    reason,
    render::{meta::Owner, route::route},
    terms::{Objection, Wanted},
};

/// What gateways are told of a pipeline.
pub struct Announced {
    /// What they are to be told.
    pub file: Option<RouteFile>,
    /// The ConfigMap.
    pub apply: Vec<Child>,
    /// What is new.
    pub notices: Vec<Notice>,
}

/// What gateways are to be told of a pipeline.
#[must_use]
pub fn announce(
    here: &Here<'_>,
    owner: &Owner,
    before: Option<&PipelineStatus>,
    wanted: Result<&Wanted, &Objection>,
) -> Announced {
    let now = here.route(&owner.key.name);
    let (Ok(wanted), Ok(name)) = (wanted, Name::new(owner.key.name.as_str())) else {
        return Announced { file: now, apply: Vec::new(), notices: Vec::new() };
    };
    let released = before.and_then(|before| before.release.as_ref()).map(|release| release.name.as_str());
    let now = now.or_else(|| recovered(&name, wanted, released));
    let gateways = Gateways { reports: here.world.told.gateways() };
    let warmed = |release: &str| gateways.all_warmed(here.namespace, release);
    let (file, moved) = next(&name, now.as_ref(), wanted, &warmed);
    let release = &wanted.route.release.name;
    let tell = |reason, note| vec![Notice { warning: false, reason, note }];
    let notices = match moved {
        Move::Stays => Vec::new(),
        Move::Announces => tell(reason::RELEASE_ANNOUNCED, format!("gateways warm {release}")),
        Move::Promotes => tell(reason::RELEASED, format!("{release} answers")),
        Move::Reverts => tell(reason::REVERTED, format!("{release} keeps answering; what was to follow is dropped")),
    };
    let apply = vec![route(owner, &file)];
    Announced { file: Some(file), apply, notices }
}
