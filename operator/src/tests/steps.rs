//! Steps for scenarios: a data set wants one Job, and is ready when that has succeeded. The Job of one with 20 users is
//! to go a minute after its end.

use k8s_openapi::api::batch::v1::Job;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use recmesh_crds::{Dataset, Kind};
use serde_json::json;

use crate::{
    controllers::Steps,
    outcome::{Child, Notice, Outcome, Subject},
    render::meta::Owner,
    terms::Key,
    world::World,
};

/// The steps.
pub fn steps() -> Steps {
    Steps { reconcile, affected: |_, _| Vec::new() }
}

fn reconcile(world: &World, subject: &Subject) -> Option<Outcome> {
    if subject.kind != Kind::Dataset {
        return None;
    }
    let Subject { namespace, name, .. } = subject;
    let dataset = world.datasets.get(&ObjectRef::<Dataset>::new(name).within(namespace))?;
    let job = format!("job-{name}");
    let live = world.children.jobs.get(&ObjectRef::<Job>::new(&job).within(namespace));
    let live_status = live.and_then(|job| job.status.clone()).unwrap_or_default();
    let owner = Owner {
        key: Key::new(Kind::Dataset, name.as_str()),
        namespace: namespace.clone(),
        uid: dataset.metadata.uid.clone().unwrap_or_default(),
        generation: dataset.metadata.generation,
    };
    let mut wished: Job = serde_json::from_value(json!({
        "metadata": owner.meta(&job, owner.labels("job", &[])),
        "spec": {"parallelism": 1, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": world.config.image.reference}]}}},
    }))
    .unwrap();
    let users = serde_json::to_value(&dataset.spec).unwrap()["source"]["planted"]["users"].clone();
    let ttl = (users == 20).then_some(60);
    wished.spec.iter_mut().for_each(|spec| spec.ttl_seconds_after_finished = ttl);
    let (status, reason) = match (live_status.succeeded, live_status.failed) {
        (Some(1), _) => ("True", "Made"),
        (_, Some(_)) => ("False", "JobFailed"),
        _ => ("False", "JobRunning"),
    };
    Some(Outcome {
        apply: vec![Child::Job(Box::new(wished))],
        status: Some(json!({
            "observedGeneration": dataset.metadata.generation,
            "job": job,
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "",
                "observedGeneration": dataset.metadata.generation}],
        })),
        notices: (reason == "JobFailed")
            .then(|| Notice { warning: true, reason: "JobFailed", note: format!("{} has failed", dataset.name_any()) })
            .into_iter()
            .collect(),
        ..Outcome::default()
    })
}
