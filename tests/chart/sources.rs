//! The chart's own files agree with each other and with the program: no helm needed.

use std::{collections::BTreeSet, fs};

use recmesh_telemetry::names;
use serde_json::Value;

use super::helm::chart;

fn read(name: &str) -> String {
    let path = chart().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&read(name)).unwrap()
}

/// A schema with its reference followed.
fn follow<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Every value has its schema, and every schema of the chart's own maps its value.
fn compare(root: &Value, schema: &Value, values: &Value, path: &str) {
    let schema = follow(root, schema);
    let Some(map) = values.as_object() else { return };
    let Some(properties) = schema["properties"].as_object() else {
        assert!(schema["additionalProperties"].is_object(), "{path}: neither fields nor a map of strings");
        return;
    };
    for (key, value) in map {
        let inner = properties.get(key).unwrap_or_else(|| panic!("{path}.{key} is not in values.schema.json"));
        compare(root, inner, value, &format!("{path}.{key}"));
    }
}

/// Every object of the schema refuses what it does not name, or says what it is a map of.
fn strict(schema: &Value, path: &str) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && schema["type"] == "object" {
                assert_eq!(schema["additionalProperties"], false, "{path} takes unknown fields");
            }
            map.iter().for_each(|(key, value)| strict(value, &format!("{path}/{key}")));
        }
        Value::Array(list) => list.iter().for_each(|value| strict(value, path)),
        _ => {}
    }
}

#[test]
fn the_schema_is_strict_and_knows_every_value() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    strict(&schema, "");
    let values = yaml("values.yaml");
    compare(&schema, &schema, &values, "");
    // The other way round: what the schema offers at the top stands in values.yaml with its default.
    let offered = schema["properties"].as_object().unwrap().keys().filter(|key| *key != "global");
    for key in offered {
        assert!(!values[key].is_null(), "{key} is in the schema and not in values.yaml");
    }
}

#[test]
fn every_value_is_explained() {
    let page = fs::read_to_string(chart().join("../../docs/kubernetes.md")).unwrap();
    let values = yaml("values.yaml");
    for key in values.as_object().unwrap().keys() {
        let named = page.contains(&format!("`{key}`")) || page.contains(&format!("`{key}."));
        assert!(named, "docs/kubernetes.md does not name {key}");
    }
}

#[test]
fn the_chart_has_the_programs_version() {
    let about = yaml("Chart.yaml");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_chart_knows_every_kind() {
    let rules = read("templates/_rules.tpl");
    let list = rules.lines().find(|line| line.starts_with("[\"")).unwrap();
    let listed: BTreeSet<String> = serde_json::from_str(list).unwrap();
    let all: BTreeSet<String> = recmesh_crds::all().into_iter().map(|crd| crd.spec.names.plural).collect();
    assert_eq!(listed, all);
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_exist() {
    let text = read("files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
    let plain = |metric: &'_ str| -> String {
        let suffix = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
        suffix.unwrap_or(metric).to_owned()
    };
    let asked: BTreeSet<String> = text.split(word).filter(|word| word.starts_with("recmesh_")).map(plain).collect();
    let all: BTreeSet<String> = names::ALL.into_iter().map(str::to_owned).collect();
    assert_eq!(asked, all, "the dashboard shows every metric and no other");
    let labels = [
        names::LABEL_OUTCOME,
        names::LABEL_PIPELINE,
        names::LABEL_POOL,
        names::LABEL_DEVICE,
        names::LABEL_PRECISION,
        names::LABEL_REASON,
        names::LABEL_STAGE,
        names::LABEL_KIND,
        names::LABEL_RESULT,
        names::LABEL_WHAT,
        "pod",
    ];
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries += 1;
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                assert!(labels.contains(&label), "{legend}: no label {label}");
                assert!(target["expr"].as_str().unwrap().contains(label), "{target}");
            }
        }
    }
    assert!(queries >= 25, "{queries}");
}
