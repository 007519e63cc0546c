//! Whether a live object already is as it is wished: every wished field has the wished value; what others have added,
//! or the API server has filled in, is theirs.
//!
//! In: the object as rendered, the object as it is. Out: yes or no. Pure. Lists whose elements have keys (names, ports,
//! types) are compared by them, as server-side apply merges them; other lists must be equal. A wished value that is
//! nothing (`false`, `0`, an empty list) may be absent, as the API server leaves it out. Amounts are equal when they
//! mean the same: `1000m` and `1`.

use serde_json::{Map, Value};

/// The fields that tell elements of a list apart, in the order of preference.
const KEYS: [&[&str]; 8] = [
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["uid"],
    &["topologyKey", "whenUnsatisfiable"],
    &["type"],
    &["ip"],
];
/// Objects whose values are amounts.
const AMOUNTS: [&str; 3] = ["requests", "limits", "capacity"];
/// Fields that are amounts.
const AMOUNT: [&str; 3] = ["sizeLimit", "averageValue", "storage"];

/// Whether everything that is wished is so.
#[must_use]
pub fn holds(wished: &Value, live: &Value) -> bool {
    match (wished, live) {
        (Value::Object(wished), Value::Object(live)) => fields_hold(wished, live, false),
        _ => wished == live,
    }
}

fn fields_hold(wished: &Map<String, Value>, live: &Map<String, Value>, amounts: bool) -> bool {
    wished.iter().all(|(name, wished)| match live.get(name) {
        None => is_nothing(wished),
        Some(live) => value_holds(name, wished, live, amounts),
    })
}

fn value_holds(name: &str, wished: &Value, live: &Value, amount: bool) -> bool {
    match (wished, live) {
        (Value::Object(wished), Value::Object(live)) => fields_hold(wished, live, AMOUNTS.contains(&name)),
        (Value::Array(wished), Value::Array(live)) => list_holds(wished, live),
        (Value::String(wished), Value::String(live)) if amount || AMOUNT.contains(&name) => {
            wished == live || (quantity(wished).is_some() && quantity(wished) == quantity(live))
        }
        (Value::Number(wished), Value::Number(live)) => wished == live || wished.as_f64() == live.as_f64(),
        _ => wished == live,
    }
}

fn list_holds(wished: &[Value], live: &[Value]) -> bool {
    let keys = KEYS.into_iter().find(|keys| {
        let has = |one: &Value| keys.first().is_some_and(|key| one.get(key).is_some());
        !wished.is_empty() && wished.iter().all(has) && live.iter().all(has)
    });
    let Some(keys) = keys else {
        return wished.len() == live.len()
            && wished.iter().zip(live).all(|(wished, live)| value_holds("", wished, live, false));
    };
    let same = |wished: &Value, live: &Value| {
        keys.iter().all(|key| wished.get(key).is_none() || wished.get(key) == live.get(key))
    };
    wished.iter().all(|wished| {
        live.iter().find(|live| same(wished, live)).is_some_and(|live| value_holds("", wished, live, false))
    })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

/// An amount in thousandths, exactly; `None` for what is none or does not fit.
fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-' && c != '+').unwrap_or(text.len());
    let (number, suffix) = (text.get(..end)?, text.get(end..)?);
    let scale: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 9 || part.contains(['-', '+']) {
        return None;
    }
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    let scaled = digits.checked_mul(scale)?;
    let divisor = 10i128.pow(u32::try_from(part.len()).ok()?);
    (scaled % divisor == 0).then_some(scaled / divisor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn additions_by_others_hold_and_changes_do_not() {
        let wished = json!({"spec": {"replicas": 2, "template": {"containers": [
            {"name": "worker", "image": "a", "ports": [{"containerPort": 9000, "name": "grpc"}]},
        ]}}, "metadata": {"labels": {"a": "b"}}});
        let live = |edit: fn(&mut Value)| {
            let mut live = json!({"apiVersion": "apps/v1", "metadata": {"labels": {"a": "b", "x": "y"}, "uid": "1"},
                "spec": {"replicas": 2, "revisionHistoryLimit": 10, "template": {"containers": [
                    {"name": "sidecar", "image": "z"},
                    {"name": "worker", "image": "a", "imagePullPolicy": "Always",
                     "ports": [{"containerPort": 9000, "name": "grpc", "protocol": "TCP"}]},
                ]}}, "status": {"replicas": 2}});
            edit(&mut live);
            live
        };
        assert!(holds(&wished, &live(|_| {})));
        for edit in [
            (|live: &mut Value| live["spec"]["replicas"] = json!(3)) as fn(&mut Value),
            |live| live["metadata"]["labels"] = json!({}),
            |live| live["spec"]["template"]["containers"][1]["image"] = json!("b"),
            |live| live["spec"]["template"]["containers"][1]["ports"] = json!([]),
            |live| live["spec"]["template"]["containers"] = json!([{"name": "sidecar"}]),
            |live| live["spec"] = json!(null),
        ] {
            let live = live(edit);
            assert!(!holds(&wished, &live), "{live}");
        }
    }

    #[test]
    fn lists_without_keys_are_whole() {
        assert!(holds(&json!({"args": ["a", "b"]}), &json!({"args": ["a", "b"]})));
        assert!(!holds(&json!({"args": ["a"]}), &json!({"args": ["a", "b"]})));
        assert!(!holds(&json!({"args": ["b", "a"]}), &json!({"args": ["a", "b"]})));
    }

    #[test]
    fn nothing_may_be_absent() {
        assert!(holds(&json!({"a": false, "b": 0, "c": [], "d": {"e": ""}, "f": null}), &json!({})));
        assert!(!holds(&json!({"a": true}), &json!({})));
        assert!(!holds(&json!({"a": false}), &json!({"a": true})));
    }

    #[test]
    fn amounts_are_compared_by_what_they_mean() {
        let of = |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
        assert!(holds(&of("1000m", "1024Mi"), &of("1", "1Gi")));
        assert!(holds(&of("0.5", "1e3"), &of("500m", "1e3")));
        assert!(!holds(&of("1", "1Gi"), &of("1", "1G")));
        assert!(!holds(&of("1", "1Gi"), &of("1001m", "1Gi")));
        // Elsewhere a text is a text.
        assert!(!holds(&json!({"labels": {"v": "1000m"}}), &json!({"labels": {"v": "1"}})));
    }
}
