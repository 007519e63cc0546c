//! Whether a resource's pools answer the requests of its pipelines.
//!
//! In: what its pipelines want of it, workers, routes, what gateways tell. Out: one verdict. Ready workers are not
//! enough: every ready gateway must have warmed the release and send its requests there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use recmesh_contract::config::RouteFile;
use recmesh_crds::condition;

use super::{said::Said, trouble::of_pods};
use crate::{
    here::{Here, label, name_of},
    names, reason,
    steps::{
        rollout::{Gateways, pools_of},
        serve::{Serving, workers_of},
    },
    terms::{Asked, Generation, Key, Objection, Trouble, Wanted},
};

/// Whether and how a resource is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No pipeline that can work names it.
    Unnamed(String),
    /// All its pipelines answer with it; and what is not as it should be all the same.
    Serves(Vec<String>),
    /// Not yet, or no longer.
    Not(Objection),
}

impl Verdict {
    /// As a condition.
    #[must_use]
    pub fn said(&self, kind: &'static str) -> Said {
        match self {
            Self::Unnamed(message) => Said::no(kind, reason::NOT_SERVED, message.as_str()),
            Self::Serves(_) => Said::yes(kind, reason::SERVING, "its pipelines answer with it"),
            Self::Not(objection) => Said::objected(kind, objection),
        }
    }
}

/// Whether a resource is served. `before` are its conditions: what served keeps serving while one worker is away.
#[must_use]
pub fn verdict(
    here: &Here<'_>,
    owner: &Key,
    asked: &Asked,
    serving: &Serving,
    version: Option<&str>,
    (kind, before): (&'static str, &[Condition]),
) -> Verdict {
    let gateways = Gateways { reports: here.world.told.gateways() };
    let mut invalid = Vec::new();
    let mut answering = 0;
    let mut wanted: Vec<(&str, &Wanted)> = Vec::new();
    for served in &serving.served {
        let name = name_of(served.pipeline.as_ref());
        match &served.wanted {
            Ok(it) => wanted.push((name, it)),
            // The pipeline waits for something else, and answers with this very version meanwhile.
            Err(_) if version.is_some_and(|version| answers(here, &gateways, serving, name, version)) => answering += 1,
            Err(objection) if objection.reason.starts_with("WaitingFor") => {
                let message = format!("Pipeline/{name} waits: {}", objection.message);
                return Verdict::Not(Objection::new(objection.reason, message));
            }
            Err(objection) => invalid.push(format!("Pipeline/{name} cannot work: {}", objection.message)),
        }
    }
    if wanted.is_empty() && answering > 0 {
        return Verdict::Serves(invalid);
    }
    if wanted.is_empty() {
        invalid.dedup();
        let why = if invalid.is_empty() { "no pipeline names it".to_owned() } else { invalid.join("; ") };
        return Verdict::Unnamed(why);
    }
    if asked.serving.replicas == 0 {
        let message = "spec.replicas is 0, so no worker answers: set it to 1 or more";
        return Verdict::Not(Objection::new(reason::SCALED_TO_ZERO, message));
    }
    let served_before = condition(before, kind).is_some_and(|it| it.status == "True");
    let mut degraded = Vec::new();
    for generation in &serving.wanted {
        let (workers, ready) = workers_of(here, generation);
        let enough = ready >= workers && workers > 0;
        if enough {
            continue;
        }
        let trouble = trouble(here, owner, asked, generation);
        let told = format!("{ready} of {workers} workers of {} are ready", generation.name());
        if ready > 0 && served_before {
            degraded.push(trouble.map_or_else(|| told.clone(), |trouble| format!("{told}: {}", trouble.message)));
            continue;
        }
        let objection = match trouble {
            Some(Trouble { reason, message }) => Objection::new(reason, format!("{told}: {message}")),
            None => Objection::new(reason::WARMING, told),
        };
        return Verdict::Not(objection);
    }
    for (pipeline, wanted) in wanted {
        if let Err(objection) = reached(here, &gateways, wanted, here.route(pipeline).as_ref()) {
            return Verdict::Not(objection);
        }
    }
    degraded.extend(invalid);
    Verdict::Serves(degraded)
}

/// Whether what answers a pipeline's requests now has a kept generation of this version.
fn answers(here: &Here<'_>, gateways: &Gateways, serving: &Serving, pipeline: &str, version: &str) -> bool {
    let Some(current) = here.route(pipeline).and_then(|file| file.current) else { return false };
    let own = |pool: &recmesh_contract::Name| {
        let mut kept = serving.kept.iter();
        kept.any(|it| it.name() == pool && it.version == version && workers_of(here, it).1 > 0)
    };
    pools_of(&current).any(own) && gateways.all_serve(here.namespace, &current.release.name)
}

/// What is wrong with the workers of a generation.
#[must_use]
pub fn trouble(here: &Here<'_>, owner: &Key, asked: &Asked, generation: &Generation) -> Option<Trouble> {
    let pods = here.workers(owner.kind, &owner.name);
    let own = pods.iter().filter(|pod| {
        label(&pod.metadata, names::POOL) == Some(generation.pool.as_str())
            && label(&pod.metadata, names::GENERATION) == Some(generation.label())
    });
    of_pods(own, &asked.pod)
}

/// Whether every ready gateway answers a pipeline's requests with what it should serve.
///
/// # Errors
/// Why not.
pub fn reached(
    here: &Here<'_>,
    gateways: &Gateways,
    wanted: &Wanted,
    now: Option<&RouteFile>,
) -> Result<(), Objection> {
    if here.config().gateway.is_none() {
        let message = "no gateway is configured, so nobody can ask: set gateway.enabled in the Helm values";
        return Err(Objection::new(reason::NO_GATEWAY, message));
    }
    if gateways.reports.is_empty() {
        let message = "no gateway is ready: see the pods of the gateway's Deployment";
        return Err(Objection::new(reason::NO_GATEWAY, message));
    }
    let release = wanted.route.release.name.as_str();
    let current = now.and_then(|now| now.current.as_ref()).map(|route| route.release.name.as_str());
    if current == Some(release) {
        if gateways.all_serve(here.namespace, release) && gateways.all_warmed(here.namespace, release) {
            return Ok(());
        }
        let message = format!("{release} is not warm in every gateway{}", blame(here, gateways, release));
        return Err(Objection::new(reason::WARMING, message));
    }
    let blame = blame(here, gateways, release);
    Err(match current {
        Some(current) => {
            let message = format!("{current} answers until {release} is warm in every gateway{blame}");
            Objection::new(reason::ROLLING_OUT, message)
        }
        None => {
            Objection::new(reason::WARMING, format!("{release} answers as soon as it is warm in every gateway{blame}"))
        }
    })
}

/// Why a release is not warm, as gateways tell it.
fn blame(here: &Here<'_>, gateways: &Gateways, release: &str) -> String {
    let silent = gateways.reports.iter().filter(|(_, report)| report.is_none()).map(|(address, _)| address.as_str());
    let silent: Vec<&str> = silent.collect();
    let waiting = gateways.waiting(here.namespace, release);
    let mut told: Vec<String> = waiting.iter().map(|(pool, why)| format!("{pool}: {why}")).collect();
    if !silent.is_empty() {
        told.push(format!("no answer from gateway {}", silent.join(", ")));
    }
    if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) }
}
