//! One look at one resource: the driver that lists the steps and nothing else.
//!
//! In: a resource's name. Out: objects and a status as the pure steps want them, and when to look again. Failures are
//! sorted by [`Failure`]; what the API server refuses becomes a condition of the resource.

use std::{sync::Arc, time::Duration};

use recmesh_telemetry::OperatorMetrics;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Steps, triggers::Triggers};
use crate::{
    apply::{Applier, status},
    events::Notices,
    failure::{Action, Failure},
    outcome::{Notice, Outcome, Subject},
    pollers::reports::Polls,
    watches::{
        Caches,
        declared::{Declared, roll_up, with_kind},
        unreadable::{Reason, Unreadable},
    },
    world::World,
};

/// The reason of a condition that says what the API server does not take.
const REFUSED: &str = "Refused";
/// The reason of a condition that says why a resource cannot be read.
const UNREADABLE: &str = "Unreadable";

/// Everything that a look needs.
pub struct Looks {
    /// What is known.
    pub world: World,
    /// The same, to be written through.
    pub caches: Caches,
    /// What cannot be read.
    pub unreadable: Unreadable,
    /// What decides.
    pub steps: Steps,
    /// What writes objects and statuses.
    pub applier: Applier,
    /// Who hears of our own writes.
    pub triggers: Arc<Triggers>,
    /// What tells events.
    pub notices: Notices,
    /// Which running jobs are asked for their progress.
    pub polls: Polls,
    /// Where looks are counted.
    pub metrics: OperatorMetrics,
}

impl Looks {
    /// Looks at a resource.
    pub async fn look(self: Arc<Self>, subject: Subject) -> Action {
        let began = Instant::now();
        let ended = with_kind!(subject.kind, K => self.look_at::<K>(&subject).await);
        let (result, action) = match &ended {
            Ok(None) => ("done", Action::Await),
            Ok(Some(again)) => ("done", Action::After(*again)),
            Err(failure) => (failure.result(), failure.action()),
        };
        if let Err(failure) = ended {
            let Subject { kind, namespace, name } = &subject;
            match &failure {
                Failure::Ending { .. } | Failure::Fenced { .. } | Failure::Conflict { .. } => {
                    tracing::debug!(%kind, namespace, name, %failure, "a look has ended early");
                }
                _ => tracing::warn!(%kind, namespace, name, %failure, "a look has failed"),
            }
        }
        self.metrics.reconciled(subject.kind.as_str(), result, began.elapsed());
        action
    }

    async fn look_at<K: Declared>(&self, subject: &Subject) -> Result<Option<Duration>, Failure> {
        if let Some(reason) = self.unreadable.get(subject) {
            return self.report_unreadable::<K>(subject, &reason).await;
        }
        let known = K::cache(&self.caches).get(&subject.namespace, &subject.name);
        // Owner references take its objects along; nothing is made for what is going.
        let known = known.filter(|known| known.meta().deletion_timestamp.is_none());
        let wanted = known.and_then(|known| Some((known, (self.steps.reconcile)(&self.world, subject)?)));
        let Some((known, outcome)) = wanted else {
            self.polls.set(subject, None);
            self.notices.forget(subject);
            return Ok(None);
        };
        let applied = self.applier.carry_out(subject, &outcome).await;
        let (wanted, refused) = with_refusal::<K>(subject, &known, &outcome, applied)?;
        let told = known.status();
        if let Some(wanted) = wanted
            && let Some(change) = self.applier.status(&*known, wanted).await?
        {
            self.triggers.resource(&change, true);
        }
        self.notices.tell(subject, known.object_ref(&()), &told, &outcome.notices).await;
        self.polls.set(subject, outcome.poll.as_ref().map(|job| job.as_str()));
        refused.map_or(Ok(outcome.again), Err)
    }

    /// Says of a resource that it cannot be read; its objects stay as they are.
    async fn report_unreadable<K: Declared>(
        &self,
        subject: &Subject,
        reason: &Reason,
    ) -> Result<Option<Duration>, Failure> {
        let message =
            format!("the operator cannot read this resource: {}; correct it, or upgrade RecMesh", reason.error);
        let condition = condition(subject, reason.generation, UNREADABLE, &message);
        let Some((object, told)) = self.applier.status_of_unreadable::<K>(subject, condition).await? else {
            return Ok(None);
        };
        let notice = Notice { warning: true, reason: UNREADABLE, note: message };
        self.notices.tell(subject, object, &told, &[notice]).await;
        Ok(None)
    }
}

/// The status to write: the steps' own, or with the summing condition saying what is refused, which also ends the
/// look. Any other failure ends it before anything is said.
fn with_refusal<K: Declared>(
    subject: &Subject,
    known: &K,
    outcome: &Outcome,
    applied: Result<(), Failure>,
) -> Result<(Option<Value>, Option<Failure>), Failure> {
    let failure = match applied {
        Ok(()) => return Ok((outcome.status.clone(), None)),
        Err(failure @ Failure::Refused { .. }) => failure,
        Err(failure) => return Err(failure),
    };
    let message = format!("{failure}; correct what is named, it is tried again every minute");
    let refusal = condition(subject, known.meta().generation, REFUSED, &message);
    let mut wanted = outcome.status.clone().unwrap_or_else(|| known.status());
    status::put(&mut wanted, refusal);
    Ok((Some(wanted), Some(failure)))
}

/// The condition that sums a resource up, saying that it is not as wished.
fn condition(subject: &Subject, generation: Option<i64>, reason: &str, message: &str) -> Value {
    // The longest message that a condition may have.
    let message: String = message.chars().take(4096).collect();
    json!({
        "type": roll_up(subject.kind),
        "status": "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    })
}
