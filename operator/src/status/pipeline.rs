//! The status of a pipeline: its release, its stages, whether every request is answered as declared.
//!
//! In: what it should serve, what gateways are told, workers, what gateways tell. Out: the whole status of now.

use recmesh_contract::config::{Route, RouteFile};
use recmesh_crds::{PipelineStatus, READY, ReleaseStatus, StageStatus};

use super::{
    said::{SERVING, Said},
    served::{reached, trouble},
};
use crate::{
    here::Here,
    reason,
    steps::{releases::asked, rollout::Gateways, serve::workers_of},
    terms::{Objection, Trouble, Wanted},
};

/// The status of a pipeline.
#[must_use]
pub fn pipeline(
    here: &Here<'_>,
    before: Option<&PipelineStatus>,
    wanted: Result<&Wanted, &Objection>,
    file: Option<&RouteFile>,
) -> (PipelineStatus, Vec<Said>) {
    let gateways = Gateways { reports: here.world.told.gateways() };
    let current = file.and_then(|file| file.current.as_ref());
    let candidate = file.and_then(|file| file.candidate.as_ref());
    let mut status = PipelineStatus {
        release: current.map(release),
        candidate: candidate.map(release),
        url: here.config().gateway.as_ref().map(|gateway| gateway.url.clone()),
        ..PipelineStatus::default()
    };
    let answers = current.is_some_and(|route| gateways.all_serve(here.namespace, &route.release.name));
    let serving = match current {
        Some(route) if answers => Said::yes(SERVING, reason::SERVING, format!("{} answers", route.release.name)),
        Some(route) => {
            let message = format!("not every gateway sends requests to {} yet", route.release.name);
            Said::no(SERVING, reason::WARMING, message)
        }
        None => Said::no(SERVING, reason::WARMING, "nothing answers yet"),
    };
    let mut said = match wanted {
        Ok(wanted) => {
            status.stages = stages(here, &gateways, wanted);
            let (ready, degraded) = ready(here, &gateways, wanted, file, before);
            let mut said = vec![ready, serving];
            said.extend(Said::degraded(reason::WARMING, &degraded));
            said
        }
        Err(objection) => {
            status.stages = before.map(|before| before.stages.clone()).unwrap_or_default();
            let mut said = Said::objected(READY, objection);
            if let Some(route) = current {
                said.message = format!("{}; {} keeps answering", said.message, route.release.name);
            }
            vec![said, serving]
        }
    };
    if here.config().gateway.is_none() {
        said.retain(|it| it.kind != SERVING);
    }
    (status, said)
}

/// Whether every request is answered by the wanted release; and what is not as it should be all the same.
fn ready(
    here: &Here<'_>,
    gateways: &Gateways,
    wanted: &Wanted,
    file: Option<&RouteFile>,
    before: Option<&PipelineStatus>,
) -> (Said, Vec<String>) {
    let release = wanted.route.release.name.as_str();
    let in_force = file.and_then(|file| file.current.as_ref()).is_some_and(|it| it.release.name == release);
    let served = before.and_then(|before| before.release.as_ref()).is_some_and(|it| it.name == release);
    let mut degraded = Vec::new();
    for generation in &wanted.generations {
        let (workers, ready) = workers_of(here, generation);
        if ready >= workers && workers > 0 {
            continue;
        }
        let asked = asked(here, &generation.owner);
        let trouble = asked.as_ref().and_then(|asked| trouble(here, &generation.owner, asked, generation));
        let told = format!("{ready} of {workers} workers of {} are ready", generation.name());
        let said = match trouble {
            _ if asked.is_some_and(|asked| asked.serving.replicas == 0) => {
                let message = format!("{} has spec.replicas 0: set it to 1 or more", generation.owner);
                Said::no(READY, reason::SCALED_TO_ZERO, message)
            }
            Some(Trouble { reason, message }) => Said::no(READY, reason, format!("{told}: {message}")),
            None => Said::no(READY, if in_force { reason::WARMING } else { started(file) }, told),
        };
        if ready > 0 && in_force && served {
            degraded.push(said.message);
            continue;
        }
        return (answering(said, file, release), Vec::new());
    }
    match reached(here, gateways, wanted, file) {
        Ok(()) => (Said::yes(READY, reason::SERVING, format!("{release} answers in every gateway")), degraded),
        Err(objection) => (Said::objected(READY, &objection), degraded),
    }
}

/// Workers of what is to answer next start, beside what answers now or not.
fn started(file: Option<&RouteFile>) -> &'static str {
    if file.is_some_and(|file| file.current.is_some()) { reason::ROLLING_OUT } else { reason::WARMING }
}

/// With what answers meanwhile.
fn answering(mut said: Said, file: Option<&RouteFile>, release: &str) -> Said {
    let current = file.and_then(|file| file.current.as_ref()).map(|route| route.release.name.as_str());
    if let Some(current) = current.filter(|current| *current != release) {
        said.message = format!("{}; {current} keeps answering", said.message);
    }
    said
}

fn release(route: &Route) -> ReleaseStatus {
    let it = route.release.clone();
    ReleaseStatus { name: it.name, models: it.models, tokenizer: it.tokenizer, catalog: it.catalog }
}

fn stages(here: &Here<'_>, gateways: &Gateways, wanted: &Wanted) -> Vec<StageStatus> {
    let route = &wanted.route;
    let stages = [
        ("tokenize", Some(&route.tokenize)),
        ("retrieve", Some(&route.retrieve)),
        ("rank", route.rank.as_ref()),
        ("fallback", route.fallback.as_ref()),
    ];
    let whole = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    stages
        .into_iter()
        .filter_map(|(stage, pool)| {
            let generation = wanted.generations.iter().find(|it| Some(it.name()) == pool)?;
            let (workers, ready_workers) = workers_of(here, generation);
            let reached = gateways.reached(here.namespace, &route.release.name, generation.name());
            Some(StageStatus {
                stage: stage.to_owned(),
                pool: generation.name().to_string(),
                ready_workers,
                workers,
                warmed_gateways: whole(reached),
                gateways: whole(gateways.reports.len()),
            })
        })
        .collect()
}
