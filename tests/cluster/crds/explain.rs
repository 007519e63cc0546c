//! `kubectl explain` tells what every field is for, from the kind down to the deepest field.

use std::fs;

use serde_json::Value;

use crate::harness::{Cluster, Kubectl, PLURALS, documents};

/// Fields deep in each kind, and words of what kubectl must say of them.
const DEEP: [(&str, &str); 9] = [
    ("datasets.spec.source.interactions.format.delimited.header", "first line"),
    ("datasets.spec.split.time", "newest rows"),
    ("tokenizers.spec.algorithm.rqKMeans.vectors.collaborative.dims", ""),
    ("retrievalmodels.spec.algorithm.lazyDecoder.decode.beams", ""),
    ("rankingmodels.spec.tasks.when.atLeast", ""),
    ("rankingmodels.spec.autoscaling.metric.cpu.percent", "ercent"),
    ("trainingjobs.spec.optimizer.adamW.lr", "rate"),
    ("evaluationjobs.spec.gates.min", ""),
    ("pipelines.status.conditions.reason", ""),
];

/// Adds the place of every field without a description.
fn undescribed(schema: &Value, place: &str, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        if field["description"].as_str().is_none_or(|text| text.trim().len() < 4) {
            found.push(place.clone());
        }
        undescribed(field, &place, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            undescribed(&schema[inner], place, found);
        }
    }
}

#[test]
fn every_field_has_a_description() {
    let mut found = Vec::new();
    for plural in PLURALS {
        let text = fs::read_to_string(Cluster::file(&format!("crds/yaml/{plural}.yaml"))).unwrap();
        let schema = &documents(&text)[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            undescribed(&schema["properties"][part], &format!("{plural}.{part}"), &mut found);
        }
    }
    assert!(found.is_empty(), "fields without a description: {found:#?}");
}

/// The text below `DESCRIPTION:`.
fn description(explained: &str) -> String {
    let after = explained.split_once("DESCRIPTION:").unwrap_or_else(|| panic!("{explained}")).1;
    after.split("FIELDS:").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn kubectl_explains_kinds_and_deep_fields() {
    Cluster::connect().await;
    for kubectl in [Kubectl::previous(), Kubectl::current()] {
        for plural in PLURALS {
            let told = kubectl.run(&["explain", plural]).good().out;
            let said = description(&told);
            assert!(
                said.len() > 10 && !said.contains("<empty>") && !said.contains("Auto-generated"),
                "{plural}: {said}"
            );
        }
        for (field, word) in DEEP {
            let said = description(&kubectl.run(&["explain", field]).good().out);
            assert!(said.len() > 4 && said != "<empty>" && said.contains(word), "{field}: {said}");
        }
    }
}
