//! Asks the pods of running jobs for their reports: progress, metrics so far, the last checkpoint.
//!
//! In: the jobs that looks want asked. Out: their reports, and a wish to look where one has changed. The end of a job is
//! not learnt here but from its pod's last words.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use recmesh_contract::JobReport;
use tokio::time::{MissedTickBehavior, interval};

use super::get::get;
use crate::{controllers::triggers::Triggers, names, outcome::Subject, world::World};

/// Time between two questions to the same job.
const EVERY: Duration = Duration::from_secs(5);
/// The longest report.
const MOST: usize = 4096;
/// Questions at once.
const AT_ONCE: usize = 16;
/// The label with a pod's place in an indexed Job; the first one reports.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The jobs that are asked. Clones share them.
#[derive(Clone)]
pub struct Polls {
    world: World,
    asked: Arc<Mutex<HashMap<Subject, String>>>,
}

impl Polls {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, asked: Arc::default() }
    }

    /// From now on this job of a resource is asked; `None`: none.
    pub fn set(&self, subject: &Subject, job: Option<&str>) {
        let before = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            match job {
                Some(job) => asked.insert(subject.clone(), job.to_owned()),
                None => asked.remove(subject),
            }
        };
        if let Some(before) = before
            && job != Some(before.as_str())
        {
            self.world.told.forget(&subject.namespace, &before);
        }
    }

    /// Asks nobody any more.
    pub fn clear(&self) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks every job again and again, until dropped.
    pub async fn run(&self, triggers: &Triggers) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.ask(triggers).await;
        }
    }

    /// Asks every job once.
    async fn ask(&self, triggers: &Triggers) {
        let asked: Vec<(Subject, String)> = {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.iter().map(|(subject, job)| (subject.clone(), job.clone())).collect()
        };
        if asked.is_empty() {
            return;
        }
        let mut addresses = HashMap::new();
        for pod in self.world.children.pods.state() {
            if let Some((job, address)) = reporter(&pod) {
                addresses.insert(job, address);
            }
        }
        stream::iter(asked)
            .for_each_concurrent(AT_ONCE, |(subject, job)| {
                let address = addresses.get(&(subject.namespace.clone(), job.clone())).copied();
                async move {
                    let Some(address) = address else { return };
                    match get::<JobReport>(address, "/report", MOST).await {
                        Ok(report) => {
                            if self.world.told.put_report(&subject.namespace, &job, report) {
                                triggers.look(subject);
                            }
                        }
                        // It may only just have begun, or ended.
                        Err(error) => tracing::debug!(job, %address, %error, "a job does not report"),
                    }
                }
            })
            .await;
    }
}

/// The job that a pod reports for, and where.
fn reporter(pod: &Pod) -> Option<((String, String), SocketAddr)> {
    let (labels, status) = (pod.metadata.labels.as_ref()?, pod.status.as_ref()?);
    if labels.get(INDEX).is_some_and(|index| index != "0")
        || pod.metadata.deletion_timestamp.is_some()
        || status.phase.as_deref() != Some("Running")
    {
        return None;
    }
    let address: IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    let port = u16::try_from(names::ADMIN_PORT).ok()?;
    let job = (pod.metadata.namespace.clone()?, labels.get(names::JOB_NAME)?.clone());
    Some((job, SocketAddr::new(address, port)))
}
