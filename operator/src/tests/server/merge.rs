//! Server-side apply, near enough: fields that a manager applied before and no longer applies go, the others come in;
//! lists with keys are merged by them. And merge patches, and the one JSON patch that is used.

use serde_json::{Map, Value};

const KEYS: [&str; 6] = ["name", "containerPort", "port", "uid", "mountPath", "type"];

/// The object after a manager has applied `new`, having applied `old` before.
pub fn apply(live: &Value, old: &Value, new: &Value) -> Value {
    let mut merged = live.clone();
    drop_old(&mut merged, old, new);
    merge(&mut merged, new);
    merged
}

fn drop_old(live: &mut Value, old: &Value, new: &Value) {
    match (live, old, new) {
        (Value::Object(live), Value::Object(old), Value::Object(new)) => {
            for (name, old) in old {
                match new.get(name) {
                    None => drop(live.shift_remove(name)),
                    Some(new) => {
                        if let Some(live) = live.get_mut(name) {
                            drop_old(live, old, new);
                        }
                    }
                }
            }
        }
        (Value::Array(live), Value::Array(old), Value::Array(new)) => {
            if let Some(key) = key(live, new) {
                let has = |list: &[Value], one: &Value| list.iter().any(|other| other[key] == one[key]);
                live.retain(|one| has(new, one) || !has(old, one));
            }
        }
        _ => {}
    }
}

fn merge(live: &mut Value, new: &Value) {
    match (&mut *live, new) {
        (Value::Object(live), Value::Object(new)) => {
            for (name, new) in new {
                merge(live.entry(name).or_insert(Value::Null), new);
            }
        }
        (Value::Array(list), Value::Array(new)) if key(list, new).is_some() => {
            let key = key(list, new).unwrap();
            for new in new {
                match list.iter_mut().find(|one| one[key] == new[key]) {
                    Some(one) => merge(one, new),
                    None => list.push(new.clone()),
                }
            }
        }
        _ => *live = new.clone(),
    }
}

fn key(live: &[Value], new: &[Value]) -> Option<&'static str> {
    KEYS.into_iter().find(|key| !new.is_empty() && live.iter().chain(new).all(|one| one.get(key).is_some()))
}

/// A merge patch.
pub fn patch(live: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            live.as_object_mut().unwrap().shift_remove(name);
        } else {
            self::patch(live.as_object_mut().unwrap().entry(name).or_insert(Value::Null), value);
        }
    }
}

/// A JSON patch of additions and replacements in an object.
pub fn operations(live: &mut Value, operations: &Value) {
    for operation in operations.as_array().unwrap() {
        assert!(matches!(operation["op"].as_str(), Some("add" | "replace")), "{operation}");
        let path = operation["path"].as_str().unwrap().trim_start_matches('/');
        live[path] = operation["value"].clone();
    }
}
