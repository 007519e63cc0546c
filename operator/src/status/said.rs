//! Conditions, and a status as it is written.
//!
//! In: what is to be said. Out: JSON. Times are filled in by whoever writes it: they tell when a condition changed,
//! which the pure steps cannot know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use recmesh_crds::condition;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    outcome::Notice,
    reason,
    terms::{Objection, Trouble},
};

/// The condition that something answers requests.
pub const SERVING: &str = "Serving";
/// The condition that something works, but not as it should; absent where all is well.
pub const DEGRADED: &str = "Degraded";

/// A condition without times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// From [`crate::reason`].
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Said {
    /// Something that holds.
    #[must_use]
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: true, reason, message: message.into() }
    }

    /// Something that does not.
    #[must_use]
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, holds: false, reason, message: message.into() }
    }

    /// Something that does not hold because of an objection.
    #[must_use]
    pub fn objected(kind: &'static str, objection: &Objection) -> Self {
        Self::no(kind, objection.reason, objection.message.as_str())
    }

    /// Something that does not hold because of a trouble.
    #[must_use]
    pub fn troubled(kind: &'static str, trouble: &Trouble) -> Self {
        Self::no(kind, trouble.reason, trouble.message.as_str())
    }

    /// `Degraded`, when there is anything to tell.
    #[must_use]
    pub fn degraded(reason: &'static str, told: &[String]) -> Option<Self> {
        (!told.is_empty()).then(|| Self::yes(DEGRADED, reason, told.join("; ")))
    }
}

/// A status as it is written: typed fields, conditions, the generation that it speaks of.
#[must_use]
pub fn written(status: &impl Serialize, generation: Option<i64>, said: &[Said]) -> Value {
    let conditions: Vec<Value> = said
        .iter()
        .map(|it| {
            let mut condition = json!({
                "type": it.kind,
                "status": if it.holds { "True" } else { "False" },
                "reason": it.reason,
                "message": it.message,
            });
            if let (Some(generation), Value::Object(fields)) = (generation, &mut condition) {
                fields.insert("observedGeneration".to_owned(), json!(generation));
            }
            condition
        })
        .collect();
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("conditions".to_owned(), Value::Array(conditions));
        if let Some(generation) = generation {
            fields.insert("observedGeneration".to_owned(), json!(generation));
        }
    }
    value
}

/// Reasons that are worth an event when they are new, and whether somebody should look.
const TOLD: [(&str, bool); 24] = [
    (reason::INVALID, true),
    (reason::REFERENCE_INVALID, true),
    (reason::REFERENCE_MISSING, true),
    (reason::JOB_CREATED, false),
    (reason::JOB_RUNNING, false),
    (reason::MADE, false),
    (reason::SUSPENDED, false),
    (reason::JOB_FAILED, true),
    (reason::REPORT_LOST, true),
    (reason::PASSED, false),
    (reason::GATE_FAILED, true),
    (reason::GATES_HOLD, false),
    (reason::QUANTIZATION_FELL_BACK, true),
    (reason::SERVING, false),
    (reason::NO_GATEWAY, true),
    (reason::SCALED_TO_ZERO, true),
    (reason::NOT_HONOURED, true),
    (reason::IMAGE_PULL, true),
    (reason::CONTAINER_CONFIG, true),
    (reason::OUT_OF_MEMORY, true),
    (reason::UNSCHEDULABLE, true),
    (reason::CRASH_LOOP, true),
    (reason::EVICTED, true),
    (reason::ROLLING_OUT, false),
];

/// What is new since the conditions of before, as events.
#[must_use]
pub fn news(before: &[Condition], said: &[Said]) -> Vec<Notice> {
    let new = |it: &&Said| condition(before, it.kind).is_none_or(|old| old.reason != it.reason);
    said.iter()
        .filter(new)
        .filter_map(|it| {
            let (_, warning) = TOLD.iter().find(|(reason, _)| *reason == it.reason)?;
            Some(Notice { warning: *warning, reason: it.reason, note: it.message.clone() })
        })
        .collect()
}
