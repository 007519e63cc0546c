//! Statuses: when a condition last changed, and whether there is anything to write.
//!
//! In: the status as the steps want it, without times; the status that is there. Out: the same with times, or nothing
//! to write. A condition keeps its time while it keeps its status. A status that somebody else has edited differs from
//! the wished one, so it is written again.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::Value;

/// The wished status with the times of its conditions.
#[must_use]
pub fn settled(wanted: Value, known: &Value, now: Timestamp) -> Value {
    let mut settled = wanted;
    let fresh = serde_json::to_value(Time(now)).unwrap_or_default();
    if let Some(conditions) = settled.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            let before = find(known, condition.get("type"));
            let kept = before.filter(|before| before.get("status") == condition.get("status"));
            let time = kept.and_then(|kept| kept.get("lastTransitionTime")).unwrap_or(&fresh).clone();
            condition.insert("lastTransitionTime".to_owned(), time);
        }
    }
    settled
}

/// The reasons that a status gives.
#[must_use]
pub fn reasons(status: &Value) -> Vec<&str> {
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().filter_map(|condition| condition.get("reason")?.as_str()).collect()
}

fn find<'a>(status: &'a Value, kind: Option<&Value>) -> Option<&'a Value> {
    status.get("conditions")?.as_array()?.iter().find(|condition| condition.get("type") == kind)
}

/// Puts a condition in the place of the one of its type.
pub fn put(status: &mut Value, condition: Value) {
    if !status.is_object() {
        *status = Value::Object(serde_json::Map::new());
    }
    let Some(fields) = status.as_object_mut() else { return };
    let conditions = fields.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(conditions) = conditions {
        match conditions.iter_mut().find(|one| one.get("type") == condition.get("type")) {
            Some(one) => *one = condition,
            None => conditions.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ready(status: &str, reason: &str) -> Value {
        json!({"conditions": [{"type": "Ready", "status": status, "reason": reason}]})
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_condition_keeps_its_time_while_it_keeps_its_status() {
        let first = settled(ready("False", "Waiting"), &Value::Null, at(0));
        assert_eq!(first["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        let second = settled(ready("False", "JobRunning"), &first, at(60));
        assert_eq!(second["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        let third = settled(ready("True", "Made"), &second, at(120));
        assert_eq!(third["conditions"][0]["lastTransitionTime"], "1970-01-01T00:02:00Z");
    }

    #[test]
    fn a_condition_is_put_in_its_place() {
        let mut status = ready("True", "Made");
        put(&mut status, json!({"type": "Ready", "status": "False"}));
        put(&mut status, json!({"type": "Other", "status": "True"}));
        assert_eq!(status["conditions"].as_array().unwrap().len(), 2);
        assert_eq!(status["conditions"][0]["status"], "False");
        let mut none = Value::Null;
        put(&mut none, json!({"type": "Ready"}));
        assert_eq!(none["conditions"][0]["type"], "Ready");
    }
}
