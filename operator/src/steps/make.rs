//! The job of a resource: from its closure to the Job that there should be.
//!
//! In: a resource that a job makes. Out: where its job stands, the objects to apply and to delete. A Job is made once
//! for one configuration; afterwards it is only suspended, resumed, let go or replaced.

use recmesh_contract::{
    Name,
    config::{JobConfig, PodParams},
};
use recmesh_plan::JobKey;

use super::{dereference::dereference, plan, validate::validate, work::work};
use crate::{
    here::{Here, name_of},
    names,
    outcome::{Child, ChildKind, ChildRef},
    reason,
    render::{
        job::{self, JobOrder, reads_files},
        meta::Owner,
    },
    terms::{Objection, Planned, Work},
};

/// What a resource asks of its job.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// How its pods run.
    pub pod: PodParams,
    /// Whether it waits.
    pub suspend: bool,
    /// The queue that admits it.
    pub queue: Option<String>,
    /// The claim that keeps checkpoints.
    pub claim: Option<String>,
    /// Whether its pods have stable names.
    pub named: bool,
}

/// A resource's job.
#[derive(Clone, Debug)]
pub struct Making {
    /// Where it stands, or why there is none.
    pub work: Result<Work, Objection>,
    /// The Job's name, where there is or will be one.
    pub job: Option<String>,
    /// Digest of what it is told.
    pub digest: Option<String>,
    /// Objects to apply.
    pub apply: Vec<Child>,
    /// Objects to delete.
    pub delete: Vec<ChildRef>,
}

impl Making {
    fn none(objection: Objection) -> Self {
        Self { work: Err(objection), job: None, digest: None, apply: Vec::new(), delete: Vec::new() }
    }
}

/// The job of a resource.
#[must_use]
pub fn make(here: &Here<'_>, owner: &Owner, request: &Request) -> Making {
    let planned = match validate(here, &owner.key, dereference(here, &owner.key)) {
        Ok(valid) => plan::plan(here, valid),
        Err(objection) => return Making::none(objection),
    };
    order(here, owner, request, &planned)
}

/// The job of a resource whose closure is planned.
#[must_use]
pub fn order(here: &Here<'_>, owner: &Owner, request: &Request, planned: &Planned) -> Making {
    let Ok(name) = Name::new(owner.key.name.as_str()) else {
        let message = format!("metadata.name: {} is not a name", owner.key.name);
        return Making::none(Objection::new(reason::INVALID, message));
    };
    let key = JobKey { kind: owner.key.kind, name };
    let Some(config) = planned.configs.get(&key) else {
        let objection = match planned.awaits(&key) {
            Some(on) => plan::waiting(here, on),
            None => Objection::new(reason::INVALID, "nothing makes this resource"),
        };
        return Making::none(objection);
    };
    let mut work = work(here, &key, config, &request.pod);
    if let (Work::Failed(trouble), Some(image)) = (&mut work, &here.config().store.image) {
        let fix = "make it with store.claim or store.uri and build the image anew";
        trouble.message += &format!("; store.image in the Helm values, {image}, is read-only: {fix}");
    }
    let made = matches!(work, Work::Made { noted: true, .. });
    if let Err(objection) = possible(here, config)
        && !made
    {
        return Making::none(objection);
    }
    let name = job::name(owner, config);
    let (apply, mut delete) = objects(here, owner, request, config, &work);
    if made && request.named && here.service(&name) {
        delete.push(ChildRef { kind: ChildKind::Service, name: name.clone() });
    }
    let old = here.jobs(owner.key.kind, &owner.key.name);
    let old = old.iter().filter(|job| job.metadata.deletion_timestamp.is_none());
    let old = old.map(|job| name_of(job.as_ref()).to_owned()).filter(|other| *other != name);
    for other in old {
        delete.push(ChildRef { kind: ChildKind::Job, name: other.clone() });
        if request.named {
            delete.push(ChildRef { kind: ChildKind::Service, name: other });
        }
    }
    let digest = Some(config.digest().to_string());
    Making { work: Ok(work), job: Some(name), digest, apply, delete }
}

/// Whether this installation can do the job.
fn possible(here: &Here<'_>, config: &JobConfig) -> Result<(), Objection> {
    if reads_files(&config.work) && here.config().data.claim.is_none() {
        let message = "it reads files, and no volume with data files is configured: set data.claim in the Helm values \
                       to a PersistentVolumeClaim of this namespace";
        return Err(Objection::new(reason::INVALID, message));
    }
    Ok(())
}

/// The Job as it should be, and whether the one that there is must go first.
fn objects(
    here: &Here<'_>,
    owner: &Owner,
    request: &Request,
    config: &JobConfig,
    work: &Work,
) -> (Vec<Child>, Vec<ChildRef>) {
    let queued = request.queue.as_deref().filter(|_| !request.suspend);
    let noted = matches!(work, Work::Made { noted: true, .. });
    let order = JobOrder {
        config,
        pod: &request.pod,
        // A queue suspends and resumes the Jobs that it admits: of those we say nothing.
        suspend: if queued.is_some() { None } else { Some(request.suspend) },
        queue: queued,
        asks: job::asks(&request.pod, request.queue.as_deref(), request.claim.as_deref()),
        claim: request.claim.as_deref(),
        named: request.named,
        noted,
    };
    let wanted = job::job(here.config(), owner, &order);
    let name = job::name(owner, config);
    let there = here.job(&name);
    let gone = || vec![ChildRef { kind: ChildKind::Job, name: name.clone() }];
    let apply = |job| {
        let mut all = Vec::new();
        if request.named {
            all.push(Child::Service(Box::new(job::service(owner, config))));
        }
        all.push(Child::Job(Box::new(job)));
        all
    };
    let Some(there) = there else {
        let made = matches!(work, Work::Made { .. });
        return (if made { Vec::new() } else { apply(wanted) }, Vec::new());
    };
    if there.metadata.deletion_timestamp.is_some() {
        return (Vec::new(), Vec::new());
    }
    let noted_on = |job: &k8s_openapi::api::batch::v1::Job, key: &str| {
        job.metadata.annotations.as_ref().and_then(|it| it.get(key).cloned())
    };
    let same = |key: &str| noted_on(&there, key) == noted_on(&wanted, key);
    match work {
        // What is done needs no other pods: only that it may go is added.
        Work::Made { .. } | Work::Lost => {
            let mut kept = wanted;
            keep_template(&mut kept, &there);
            (if noted { vec![Child::Job(Box::new(kept))] } else { Vec::new() }, Vec::new())
        }
        // A change of what it asks for, or of this installation, may be the remedy.
        Work::Failed(_) if !same(names::TEMPLATE) || !same(names::ASKED) => (Vec::new(), gone()),
        Work::Failed(_) => (Vec::new(), Vec::new()),
        _ if !same(names::ASKED) => (Vec::new(), gone()),
        Work::Suspended | Work::Queued if !same(names::TEMPLATE) => (Vec::new(), gone()),
        _ if !same(names::TEMPLATE) && request.suspend => (Vec::new(), gone()),
        // It runs: a new image or another default is no reason to start over.
        _ if !same(names::TEMPLATE) => (Vec::new(), Vec::new()),
        _ => (apply(wanted), Vec::new()),
    }
}

/// A Job's template cannot change.
fn keep_template(job: &mut k8s_openapi::api::batch::v1::Job, there: &k8s_openapi::api::batch::v1::Job) {
    if let (Some(spec), Some(old)) = (&mut job.spec, &there.spec) {
        spec.template = old.template.clone();
        spec.suspend = old.suspend;
    }
    for key in [names::ASKED, names::TEMPLATE] {
        let old = there.metadata.annotations.as_ref().and_then(|it| it.get(key));
        if let (Some(old), Some(all)) = (old, job.metadata.annotations.as_mut()) {
            all.insert(key.to_owned(), old.clone());
        }
    }
}
