//! Every example is accepted as it is, and stays as it was written.

use std::{fs, path::PathBuf};

use crate::harness::{Cluster, Kubectl, Space, documents};

fn examples() -> Vec<PathBuf> {
    let files = fs::read_dir(Cluster::file("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

#[tokio::test]
async fn every_example_is_accepted_by_both_versions_of_kubectl() {
    let space = Space::new("examples").await;
    for kubectl in [Kubectl::previous(), Kubectl::current()].map(|kubectl| kubectl.within(&space.name)) {
        for path in examples() {
            let path = path.to_str().unwrap();
            for way in [&["--dry-run=server"][..], &["--dry-run=server", "--server-side"]] {
                let told = kubectl.run(&[&["apply", "-f", path], way].concat()).good();
                assert_eq!(told.err, "", "{path}: without a warning");
            }
        }
    }
    space.end().await;
}

/// A second `kubectl apply` of the same file changes nothing, and nothing that was written is lost or changed.
#[tokio::test]
async fn every_example_stays_as_written() {
    let space = Space::new("written").await;
    for path in examples() {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.to_str().unwrap();
        space.kubectl().run(&["apply", "-f", file]).good();
        let versions = || {
            let path = "-o=jsonpath={.items[*].metadata.resourceVersion}";
            space.kubectl().run(&["get", "-f", file, path]).good().out
        };
        let before = versions();
        space.kubectl().run(&["apply", "-f", file]).good();
        assert_eq!(versions(), before, "{file}");
        for document in documents(&text) {
            let (kind, name) = (document["kind"].as_str().unwrap(), document["metadata"]["name"].as_str().unwrap());
            let stored = space.get(kind, name).await;
            holds(&stored.data["spec"], &document["spec"], &format!("{file} {kind} {name} spec"));
        }
        space.kubectl().run(&["delete", "-f", file, "--wait=false"]).good();
    }
    space.end().await;
}

/// Asserts that everything in `written` is in `stored`, which may hold defaults besides.
fn holds(stored: &serde_json::Value, written: &serde_json::Value, place: &str) {
    match (stored, written) {
        (serde_json::Value::Object(stored), serde_json::Value::Object(written)) => {
            for (key, value) in written {
                holds(stored.get(key).unwrap_or(&serde_json::Value::Null), value, &format!("{place}.{key}"));
            }
        }
        (serde_json::Value::Array(stored), serde_json::Value::Array(written)) => {
            assert_eq!(stored.len(), written.len(), "{place}");
            for (number, (stored, written)) in stored.iter().zip(written).enumerate() {
                holds(stored, written, &format!("{place}[{number}]"));
            }
        }
        (serde_json::Value::Number(stored), serde_json::Value::Number(written)) => {
            assert_eq!(stored.as_f64(), written.as_f64(), "{place}");
        }
        _ => assert_eq!(stored, written, "{place}"),
    }
}
