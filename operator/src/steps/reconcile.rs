//! The drivers: for each kind the list of its steps, and nothing else.
//!
//! In: everything known and one resource. Out: what is to be done about it. The same world gives the same answer.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use recmesh_contract::Name;
use recmesh_crds::{
    Dataset, EvaluationJob, Kind, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob, condition,
};
use serde::Serialize;

use super::{
    announce::announce,
    dereference::dereference,
    make::{Making, Request, make},
    plan,
    releases::wanted,
    serve::{Serving, pools, serve},
    validate::validate,
};
use crate::{
    here::Here,
    names,
    outcome::{Outcome, Subject},
    reason,
    render::meta::Owner,
    status::{
        makers, owners,
        owners::{Pooled, Version},
        pipeline,
        said::{Said, news, written},
        served::{Verdict, verdict},
    },
    terms::{Asked, Key, Wanted, Work},
    world::World,
};

/// When to look again at what others are about to change without telling.
const SOON: Duration = Duration::from_secs(5);
/// The condition that KEDA scales a resource.
const AUTOSCALED: &str = "Autoscaled";
/// Its reason.
const QUEUE: &str = "Queue";

/// What is to be done for one resource; `None` when it is not in the world.
#[must_use]
pub fn reconcile(world: &World, subject: &Subject) -> Option<Outcome> {
    let here = Here { world, namespace: &subject.namespace };
    let name = subject.name.as_str();
    Some(match subject.kind {
        Kind::Dataset => dataset(&here, here.dataset(name)?.as_ref()),
        Kind::Tokenizer => tokenizer(&here, here.tokenizer(name)?.as_ref()),
        Kind::RetrievalModel => retrieval_model(&here, here.retrieval_model(name)?.as_ref()),
        Kind::RankingModel => ranking_model(&here, here.ranking_model(name)?.as_ref()),
        Kind::TrainingJob => training_job(&here, here.training_job(name)?.as_ref()),
        Kind::EvaluationJob => evaluation_job(&here, here.evaluation_job(name)?.as_ref()),
        Kind::Pipeline => pipeline(&here, here.pipeline(name)?.as_ref()),
    })
}

/// The owner of a resource's objects; `None` while it is being deleted, when nothing new is made.
fn owner(kind: Kind, meta: &ObjectMeta) -> Option<Owner> {
    meta.deletion_timestamp.is_none().then(|| Owner {
        key: Key::new(kind, meta.name.clone().unwrap_or_default()),
        namespace: meta.namespace.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation,
    })
}

fn dataset(here: &Here<'_>, it: &Dataset) -> Outcome {
    let Some(owner) = owner(Kind::Dataset, &it.metadata) else { return Outcome::default() };
    let making = make(here, &owner, &Request { pod: it.spec.pod.clone(), ..Request::default() });
    let before = it.status.as_ref();
    let (status, said) = makers::dataset(before, &making);
    let told = before.map_or(&[][..], |status| &status.conditions);
    outcome(&owner, told, &status, &said).with_job(making)
}

fn training_job(here: &Here<'_>, it: &TrainingJob) -> Outcome {
    let Some(owner) = owner(Kind::TrainingJob, &it.metadata) else { return Outcome::default() };
    if it.spec.managed_by.as_deref().is_some_and(|manager| manager != names::MANAGER) {
        return Outcome::default();
    }
    let request = Request {
        pod: it.spec.pod.clone(),
        suspend: it.spec.suspend,
        queue: it.spec.queue.clone(),
        claim: it.spec.checkpoint_claim.clone(),
        named: true,
    };
    let making = make(here, &owner, &request);
    let before = it.status.as_ref();
    let (status, mut said) = makers::training(before, &making);
    said.extend(Said::degraded(reason::NOT_HONOURED, &checkpoints(here, it)));
    let told = before.map_or(&[][..], |status| &status.conditions);
    outcome(&owner, told, &status, &said).with_job(making)
}

/// What this installation cannot do about checkpoints.
fn checkpoints(here: &Here<'_>, it: &TrainingJob) -> Vec<String> {
    let remote = here.config().store.uri.is_some();
    let writes = it.spec.training.checkpoint.every_steps > 0;
    match (&it.spec.checkpoint_claim, remote) {
        (None, true) if writes => vec![
            "spec.checkpoint: artifacts are kept in an object store, which keeps no checkpoints, so a pod that is lost \
             starts over: name a PersistentVolumeClaim in spec.checkpointClaim, or write checkpoint: {everySteps: 0}"
                .to_owned(),
        ],
        (Some(_), false) => vec![
            "spec.checkpointClaim: artifacts are kept on a volume, which keeps checkpoints, too: remove it".to_owned(),
        ],
        _ => Vec::new(),
    }
}

fn evaluation_job(here: &Here<'_>, it: &EvaluationJob) -> Outcome {
    let Some(owner) = owner(Kind::EvaluationJob, &it.metadata) else { return Outcome::default() };
    let making = make(here, &owner, &Request { pod: it.spec.pod.clone(), ..Request::default() });
    let before = it.status.as_ref();
    let (status, said) = makers::evaluation(before, &making, &it.spec.evaluation.gates);
    let told = before.map_or(&[][..], |status| &status.conditions);
    outcome(&owner, told, &status, &said).with_job(making)
}

fn tokenizer(here: &Here<'_>, it: &Tokenizer) -> Outcome {
    let Some(owner) = owner(Kind::Tokenizer, &it.metadata) else { return Outcome::default() };
    let making = make(here, &owner, &Request { pod: it.spec.pod.clone(), ..Request::default() });
    let asked = Asked { serving: it.spec.serving.clone(), pod: it.spec.pod.clone() };
    let before = it.status.as_ref();
    let told = before.map_or(&[][..], |status| &status.conditions);
    let serving = serve(here, &owner, &asked, keda(told));
    let version = made(&making);
    let pooled = pooled(here, &owner, &asked, &serving, version, (crate::status::said::SERVING, told));
    let (status, mut said) = owners::tokenizer(before, &making, &pooled);
    said.extend(apart(&serving, &pooled.verdict));
    outcome(&owner, told, &status, &said).with_job(making).with_pools(serving)
}

fn retrieval_model(here: &Here<'_>, it: &RetrievalModel) -> Outcome {
    let Some(owner) = owner(Kind::RetrievalModel, &it.metadata) else { return Outcome::default() };
    let asked = Asked { serving: it.spec.serving.clone(), pod: it.spec.pod.clone() };
    let before = it.status.as_ref();
    let told = before.map_or(&[][..], |status| &status.conditions);
    let serving = serve(here, &owner, &asked, keda(told));
    let ready = (recmesh_crds::READY, told);
    if it.spec.algorithm.counted() {
        let making = make(here, &owner, &Request { pod: it.spec.pod.clone(), ..Request::default() });
        let pooled = pooled(here, &owner, &asked, &serving, made(&making), ready);
        let (status, mut said) = owners::counted(before, &making, &pooled);
        said.extend(apart(&serving, &pooled.verdict));
        return outcome(&owner, told, &status, &said).with_job(making).with_pools(serving);
    }
    let version = version(here, &owner);
    let made = version.made.as_ref().ok().map(|made| made.version.as_str());
    let pooled = pooled(here, &owner, &asked, &serving, made, ready);
    let (status, mut said) = owners::trained(before, &version, &pooled);
    said.extend(apart(&serving, &pooled.verdict));
    outcome(&owner, told, &status, &said).with_pools(serving)
}

fn ranking_model(here: &Here<'_>, it: &RankingModel) -> Outcome {
    let Some(owner) = owner(Kind::RankingModel, &it.metadata) else { return Outcome::default() };
    let asked = Asked { serving: it.spec.serving.clone(), pod: it.spec.pod.clone() };
    let before = it.status.as_ref();
    let told = before.map_or(&[][..], |status| &status.conditions);
    let serving = serve(here, &owner, &asked, keda(told));
    let version = version(here, &owner);
    let made = version.made.as_ref().ok().map(|made| made.version.as_str());
    let pooled = pooled(here, &owner, &asked, &serving, made, (recmesh_crds::READY, told));
    let (status, mut said) = owners::ranking(before, &version, &pooled);
    said.extend(apart(&serving, &pooled.verdict));
    outcome(&owner, told, &status, &said).with_pools(serving)
}

fn pipeline(here: &Here<'_>, it: &Pipeline) -> Outcome {
    let Some(owner) = owner(Kind::Pipeline, &it.metadata) else { return Outcome::default() };
    let before = it.status.as_ref();
    let wanted = wanted(here, &owner.key.name);
    let announced = announce(here, &owner, before, wanted.as_ref());
    let (status, mut said) = pipeline::pipeline(here, before, wanted.as_ref(), announced.file.as_ref());
    let told = before.map_or(&[][..], |status| &status.conditions);
    let ready = said.iter_mut().find(|it| it.kind == recmesh_crds::READY && it.holds);
    if let (Some(ready), Ok(wanted), false) = (ready, &wanted, holds(told, recmesh_crds::READY))
        && let Some(late) = late(here, wanted)
    {
        *ready = Said::no(ready.kind, reason::WARMING, format!("{late} is about to be told ready"));
    }
    let mut outcome = outcome(&owner, told, &status, &said);
    let rolling = announced.file.as_ref().is_some_and(|file| file.candidate.is_some());
    outcome.apply.extend(announced.apply);
    outcome.notices.extend(announced.notices);
    outcome.again = rolling.then_some(SOON);
    outcome
}

/// What is served and ready, but whose status does not say so yet. A pipeline waits for it: whoever waits for the pipeline
/// then finds ready what it serves. What is not ready for another pipeline's sake is not waited for.
fn late<'a>(here: &Here<'_>, wanted: &'a Wanted) -> Option<&'a Key> {
    let says = |status: &serde_json::Value| {
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.any(|it| it["type"] == recmesh_crds::READY && it["status"] == "True")
    };
    wanted.generations.iter().map(|it| &it.owner).find(|owner| {
        let subject = Subject { kind: owner.kind, namespace: here.namespace.to_owned(), name: owner.name.clone() };
        let told = plan::main_condition(here, owner).is_some_and(|it| it.status == "True");
        !told && reconcile(here.world, &subject).and_then(|it| it.status).is_some_and(|status| says(&status))
    })
}

fn holds(told: &[Condition], kind: &str) -> bool {
    condition(told, kind).is_some_and(|it| it.status == "True")
}

/// What a training job has made of a model.
fn version(here: &Here<'_>, owner: &Owner) -> Version {
    let Key { kind, name } = &owner.key;
    let planned = match validate(here, &owner.key, dereference(here, &owner.key)) {
        Ok(valid) => plan::plan(here, valid),
        Err(objection) => return Version::none(objection),
    };
    let Some(maker) = planned.maker(*kind, name) else {
        let objection = crate::terms::Objection::new(reason::INVALID, format!("{name} is not a name"));
        return Version::none(objection);
    };
    match planned.made.get(maker) {
        Some(made) => {
            let status = here.training_job(maker.name.as_str()).and_then(|it| it.status.clone());
            let (metrics, quantization) = status.map(|it| (it.metrics, it.quantization)).unwrap_or_default();
            Version { made: Ok(made.clone()), metrics, quantization }
        }
        None => Version::none(plan::waiting(here, maker)),
    }
}

fn made(making: &Making) -> Option<&str> {
    match &making.work {
        Ok(Work::Made { version, .. }) => Some(version),
        _ => None,
    }
}

fn pooled(
    here: &Here<'_>,
    owner: &Owner,
    asked: &Asked,
    serving: &Serving,
    version: Option<&str>,
    before: (&'static str, &[Condition]),
) -> Pooled {
    let verdict = verdict(here, &owner.key, asked, serving, version, before);
    Pooled::new(&owner.key, serving, pools(here, serving), verdict)
}

/// Whether KEDA was to scale a resource when its status was written.
fn keda(told: &[Condition]) -> bool {
    condition(told, AUTOSCALED).is_some_and(|it| it.reason == QUEUE)
}

/// Conditions that are there only when there is something to tell.
fn apart(serving: &Serving, verdict: &Verdict) -> Vec<Said> {
    let scaled = serving.keda.then(|| Said::yes(AUTOSCALED, QUEUE, "KEDA scales it by its queue"));
    let mut told = serving.unhonoured.clone();
    let reason = if told.is_empty() { reason::WARMING } else { reason::NOT_HONOURED };
    if let Verdict::Serves(degraded) = verdict {
        told.extend(degraded.iter().cloned());
    }
    scaled.into_iter().chain(Said::degraded(reason, &told)).collect()
}

fn outcome(owner: &Owner, before: &[Condition], status: &impl Serialize, said: &[Said]) -> Outcome {
    Outcome { status: Some(written(status, owner.generation, said)), notices: news(before, said), ..Outcome::default() }
}

impl Outcome {
    fn with_job(mut self, making: Making) -> Self {
        if let Ok(Work::Running { .. }) = making.work {
            self.poll = making.job.and_then(|job| Name::new(job).ok());
        }
        // What is made shows in what is told to others only once the status says so.
        if let Ok(Work::Made { noted: false, .. } | Work::Lost) = making.work {
            self.again = Some(SOON);
        }
        self.apply.extend(making.apply);
        self.delete.extend(making.delete);
        self
    }

    fn with_pools(mut self, serving: Serving) -> Self {
        self.apply.extend(serving.apply);
        self.delete.extend(serving.delete);
        if !serving.kept.is_empty() {
            self.again = Some(SOON);
        }
        self
    }
}
