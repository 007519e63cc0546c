//! Events: what has become of a resource, told once each time it becomes so.
//!
//! In: what the steps have noticed, and the status that was there before. Out: events. A notice is told when neither
//! the status before nor the look before gave its reason, so neither looking again nor a new operator repeats it. An
//! event that cannot be written is lost: the status says the same.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use recmesh_telemetry::OperatorMetrics;
use serde_json::Value;

use crate::{
    apply::status::reasons,
    names,
    outcome::{Notice, Subject},
};

/// The longest note that an event may have.
const NOTE: usize = 1024;

/// Tells notices as events.
pub struct Notices {
    recorder: Recorder,
    metrics: OperatorMetrics,
    told: Mutex<HashMap<Subject, Vec<Notice>>>,
}

impl Notices {
    /// Events are written through this client, in this replica's name.
    #[must_use]
    pub fn new(client: Client, identity: &str, metrics: OperatorMetrics) -> Self {
        let reporter = Reporter { controller: names::OPERATOR.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter), metrics, told: Mutex::default() }
    }

    /// Tells what is new of a resource.
    pub async fn tell(&self, subject: &Subject, object: ObjectReference, before: &Value, notices: &[Notice]) {
        let last = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if notices.is_empty() { told.remove(subject) } else { told.insert(subject.clone(), notices.to_vec()) }
        };
        let (last, known) = (last.unwrap_or_default(), reasons(before));
        for notice in notices {
            if last.contains(notice) || known.contains(&notice.reason) {
                continue;
            }
            let event = Event {
                type_: if notice.warning { EventType::Warning } else { EventType::Normal },
                reason: notice.reason.to_owned(),
                note: Some(notice.note.chars().take(NOTE).collect()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            match self.recorder.publish(&event, &object).await {
                Ok(()) => self.metrics.written("Event"),
                Err(error) => tracing::debug!(reason = notice.reason, %error, "an event was not written"),
            }
        }
    }

    /// Forgets a resource that is gone.
    pub fn forget(&self, subject: &Subject) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }
}
