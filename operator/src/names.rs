//! Labels, annotations, ports, paths and the names of the objects that the operator makes.
//!
//! In: a resource's name and a digest. Out: names that Kubernetes takes and that tell whose they are. Names of one
//! resource never change while what they name stays the same.

use recmesh_contract::{Name, Version};
use recmesh_crds::Kind;

/// The value of [`APP`].
pub const RECMESH: &str = "recmesh";
/// The field manager, the reporter of events, and the value of [`MANAGED_BY`].
pub const OPERATOR: &str = "recmesh-operator";
/// What `TrainingJob.spec.managedBy` says when it is us.
pub const MANAGER: &str = "recmesh.dev/operator";
/// The API version of our kinds.
pub const API_VERSION: &str = "recmesh.dev/v1alpha1";

/// Label: whose program it is.
pub const APP: &str = "app.kubernetes.io/name";
/// Label: who made the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: [`JOB`], [`WORKER`] or [`ROUTE`].
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Label: the kind of the resource that the object belongs to.
pub const KIND: &str = "recmesh.dev/kind";
/// Label: the name of the resource that the object belongs to.
pub const NAME: &str = "recmesh.dev/name";
/// Label: the pool, the same for all its generations.
pub const POOL: &str = "recmesh.dev/pool";
/// Label: the pool's generation, eight hexadecimal digits; `in-place…` where workers swap generations.
pub const GENERATION: &str = "recmesh.dev/generation";
/// Label: digest of what a job is told. Annotation of the same name: what it is told.
pub const CONFIG: &str = "recmesh.dev/config";
/// Label: the pipeline whose route a ConfigMap holds.
pub const ROUTED: &str = "recmesh.dev/route";
/// Label of Kueue: the queue that admits a job.
pub const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Label that Kubernetes gives the pods of a Job.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Annotation of a Job: digest of what its resource asks of pods. Another digest replaces an unfinished Job.
pub const ASKED: &str = "recmesh.dev/asked";
/// Annotation of a Job: digest of its pods' template. Another digest replaces a Job that waits or has failed.
pub const TEMPLATE: &str = "recmesh.dev/template";
/// Annotation of every object: digest of it as it was last applied.
pub const RENDERED: &str = "recmesh.dev/rendered";
/// Annotation of a pool's ConfigMap: `user` where a user's requests go to one worker.
pub const AFFINITY: &str = "recmesh.dev/affinity";

/// Component of jobs.
pub const JOB: &str = "job";
/// Component of pools.
pub const WORKER: &str = "worker";
/// Component of routes.
pub const ROUTE: &str = "route";

/// The folder of artifacts in a pod.
pub const STORE_FOLDER: &str = "/store";
/// The folder of data files in a pod.
pub const DATA_FOLDER: &str = "/data";
/// The folder of configuration in a pod.
pub const CONFIG_FOLDER: &str = "/etc/recmesh";
/// The file of configuration in [`CONFIG_FOLDER`], and its key in a ConfigMap.
pub const CONFIG_FILE: &str = "config.json";
/// The key of a route in its ConfigMap.
pub const ROUTE_FILE: &str = "route.json";
/// Probes, metrics, reports.
pub const ADMIN_PORT: i32 = 8081;
/// Calls to workers.
pub const GRPC_PORT: i32 = 9000;

/// Longest name of a pool's objects: a StatefulSet's pods bear its name and eleven characters more in a label.
const POOL_LENGTH: usize = 52;
/// Longest name of a Job: its pods' host names bear an index.
const JOB_LENGTH: usize = 58;
/// Hexadecimal digits at the end of a name.
const DIGITS: usize = 8;

/// The short name of a kind.
#[must_use]
pub fn short(kind: Kind) -> &'static str {
    match kind {
        Kind::Dataset => "rds",
        Kind::Tokenizer => "tok",
        Kind::RetrievalModel => "rm",
        Kind::RankingModel => "rkm",
        Kind::TrainingJob => "tj",
        Kind::EvaluationJob => "ej",
        Kind::Pipeline => "pl",
    }
}

/// The Job of a resource that is told what has this digest.
#[must_use]
pub fn job(kind: Kind, name: &str, config: &Version) -> String {
    format!("{}-{}", shortened(&format!("{}-{name}", short(kind)), JOB_LENGTH - DIGITS - 1), digits(config.as_str()))
}

/// A pool: what serves a resource in a stage, whichever version it is of.
#[must_use]
pub fn pool(stage: &str, resource: &Name) -> String {
    shortened(&format!("{stage}-{resource}"), POOL_LENGTH - DIGITS - 1)
}

/// A generation of a pool.
#[must_use]
pub fn generation(pool: &str, hex: &str) -> String {
    format!("{pool}-{}", digits(hex))
}

/// The ConfigMap with a pipeline's route.
#[must_use]
pub fn route(pipeline: &str) -> String {
    format!("{pipeline}-route")
}

/// A model's autoscaler.
#[must_use]
pub fn scaler(kind: Kind, name: &str) -> String {
    shortened(&format!("{}-{name}", short(kind)), POOL_LENGTH)
}

/// The digest of a text, eight hexadecimal digits.
#[must_use]
pub fn digest(text: &str) -> String {
    digits(Version::of([text.as_bytes()]).as_str()).to_owned()
}

fn digits(hex: &str) -> &str {
    hex.get(..DIGITS).unwrap_or(hex)
}

/// A name of at most `most` characters; the end of a longer one is its digest.
fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let front: String = name.chars().take(most - DIGITS - 1).collect();
    format!("{}-{}", front.trim_end_matches('-'), digest(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_whatever_the_resource_is_called() {
        let long = "a".repeat(31) + "-" + &"b".repeat(31);
        let version = Version::of([b"x".as_slice()]);
        let name = Name::new(long.clone()).unwrap();
        let pool = pool("retrieve", &name);
        let all = [job(Kind::RetrievalModel, &long, &version), generation(&pool, version.as_str()), pool];
        for made in all {
            assert!(Name::new(made.clone()).is_ok(), "{made}");
            assert!(made.len() <= 58, "{made}");
        }
        assert_eq!(job(Kind::TrainingJob, "x", &version), format!("tj-x-{}", &version.as_str()[..8]));
        let other = "a".repeat(31) + "-" + &"b".repeat(30) + "c";
        assert_ne!(job(Kind::TrainingJob, &long, &version), job(Kind::TrainingJob, &other, &version));
    }
}
