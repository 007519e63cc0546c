//! The pools of a resource that is served: what its pipelines want, what is still needed, what can go.
//!
//! In: a tokenizer or a model. Out: its generations with their workers, the objects to apply and to delete. A generation
//! that a route names is kept whatever is wrong with the resource by now.

use std::collections::BTreeMap;

use recmesh_contract::config::{Autoscaling, ScaleMetric};
use recmesh_crds::{Kind, PoolStatus};

use super::{
    releases::{Served, served},
    retire::kept,
};
use crate::{
    here::{Here, PoolObjects},
    names,
    outcome::{Child, ChildKind, ChildRef},
    render::{meta::Owner, scaler::scaler, worker::workers},
    terms::{Asked, Generation},
};

/// The pools of a resource.
pub struct Serving {
    /// Its pipelines, each with what it should serve.
    pub served: Vec<Served>,
    /// Wanted generations.
    pub wanted: Vec<Generation>,
    /// Generations that are needed although nothing wants them any more.
    pub kept: Vec<Generation>,
    /// Objects to apply.
    pub apply: Vec<Child>,
    /// Objects to delete.
    pub delete: Vec<ChildRef>,
    /// Fields that are not honoured as they are written.
    pub unhonoured: Vec<String>,
    /// Whether KEDA is to scale it.
    pub keda: bool,
}

/// The pools of a resource. `keda` tells whether KEDA was to scale it before.
#[must_use]
pub fn serve(here: &Here<'_>, owner: &Owner, asked: &Asked, keda: bool) -> Serving {
    let served = served(here, &owner.key);
    let mut wanted: Vec<Generation> = Vec::new();
    for generation in served.iter().filter_map(|it| it.wanted.as_ref().ok()).flat_map(|it| &it.generations) {
        if generation.owner == owner.key && !wanted.contains(generation) {
            wanted.push(generation.clone());
        }
    }
    let kept = kept(here, &owner.key, &wanted);
    let mut sets: BTreeMap<&str, Vec<&Generation>> = BTreeMap::new();
    for generation in wanted.iter().chain(&kept) {
        sets.entry(generation.place.service.as_str()).or_default().push(generation);
    }
    let apply: Vec<Child> = sets.values().flat_map(|pools| workers(here.config(), owner, asked, pools)).collect();
    let delete = unneeded(&here.pool_objects(owner.key.kind, &owner.key.name), &apply);
    let mut serving = Serving { served, wanted, kept, apply, delete, unhonoured: Vec::new(), keda: false };
    scale(here, owner, asked, keda, &mut serving);
    serving
}

/// Objects of pools that are there and that nothing needs: workloads first, so that nobody is sent to what is ending.
fn unneeded(there: &PoolObjects, wished: &[Child]) -> Vec<ChildRef> {
    let PoolObjects { deployments, stateful_sets, services, config_maps, budgets } = there;
    let wished: Vec<ChildRef> = wished.iter().map(Child::reference).collect();
    let kinds = [
        (ChildKind::Deployment, deployments),
        (ChildKind::StatefulSet, stateful_sets),
        (ChildKind::PodDisruptionBudget, budgets),
        (ChildKind::Service, services),
        (ChildKind::ConfigMap, config_maps),
    ];
    let there =
        kinds.into_iter().flat_map(|(kind, all)| all.iter().map(move |name| ChildRef { kind, name: name.clone() }));
    there.filter(|it| !wished.contains(it)).collect()
}

/// The autoscaler that is asked for, and no other.
fn scale(here: &Here<'_>, owner: &Owner, asked: &Asked, keda: bool, serving: &mut Serving) {
    let name = names::scaler(owner.key.kind, &owner.key.name);
    let metric = asked.serving.autoscaling.as_ref().map(|it| &it.metric);
    if let Some(autoscaling) = &asked.serving.autoscaling {
        let stage = match owner.key.kind {
            Kind::Tokenizer => "tokenize",
            Kind::RankingModel => "rank",
            _ => "retrieve",
        };
        let resource = recmesh_contract::Name::new(owner.key.name.as_str());
        let pools: Vec<String> = resource.iter().map(|resource| names::pool(stage, resource)).collect();
        let pools: Vec<&str> = pools.iter().map(String::as_str).collect();
        serving.apply.push(scaler(owner, autoscaling, &pools));
        serving.keda = matches!(autoscaling, Autoscaling { metric: ScaleMetric::Queue(_), .. });
        if matches!(metric, Some(ScaleMetric::Cpu(_))) && asked.pod.requests.cpu.is_none() {
            serving.unhonoured.push(
                "spec.autoscaling.metric.cpu: there is no share of a request without one: set spec.pod.requests.cpu"
                    .to_owned(),
            );
        }
    }
    if !matches!(metric, Some(ScaleMetric::Cpu(_))) && here.autoscaler(&name) {
        serving.delete.push(ChildRef { kind: ChildKind::HorizontalPodAutoscaler, name: name.clone() });
    }
    if !serving.keda && keda {
        serving.delete.push(ChildRef { kind: ChildKind::ScaledObject, name });
    }
}

/// Every generation with its workers, for the status: wanted ones first.
#[must_use]
pub fn pools(here: &Here<'_>, serving: &Serving) -> Vec<PoolStatus> {
    let all = serving.wanted.iter().chain(&serving.kept);
    all.map(|generation| {
        let (workers, ready_workers) = workers_of(here, generation);
        PoolStatus { name: generation.name().to_string(), version: generation.version.clone(), workers, ready_workers }
    })
    .collect()
}

/// How many workers a generation should have, and how many are ready.
#[must_use]
pub fn workers_of(here: &Here<'_>, generation: &Generation) -> (i32, i32) {
    here.ready_workers(generation.place.service.as_str(), generation.stable()).unwrap_or((0, 0))
}
