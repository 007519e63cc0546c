//! Manifests in, every message out. `tests/*.txt` hold the cases: `=== what it shows`, a file beside `base.yaml`, `>>>`,
//! every message. `UPDATE=1` writes the messages anew; read the difference before you keep it.

use std::{fs, path::Path};

use recmesh_crds::{ManifestError, parse};

use super::validate;

/// Beside every case: a planted world, its tokenizer, a counted model, rows of examples.
const BASE: &str = "\
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec: {source: {planted: {users: 100, items: 60}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: Tokenizer
metadata: {name: ids}
spec: {datasetRef: {name: world}, algorithm: {rqKMeans: {}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: popular}
spec: {datasetRef: {name: world}, algorithm: {popularity: {}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: rows}
spec:
  source:
    examples:
      path: rows.csv
      format: {delimited: {}}
      numeric: [age]
      labels: [{name: bought, column: label}]
  split: {time: {validation: 0.1, test: 0.1}}
";

fn messages(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let errors = parse(&files).and_then(validate).err().unwrap_or_default();
    errors.iter().map(ManifestError::to_string).collect()
}

#[test]
fn every_message_is_as_written() {
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/validate/tests");
    let mut bad = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut anew = String::new();
        for case in fs::read_to_string(&path).unwrap().split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').unwrap();
            let (text, expected) = rest.split_once(">>>\n").unwrap();
            let found: String =
                messages(&[("base.yaml", BASE), ("a.yaml", text)]).iter().map(|line| format!("{line}\n")).collect();
            anew.push_str(&format!("=== {title}\n{text}>>>\n{found}\n"));
            bad += usize::from(!found.is_empty());
            if !update {
                assert_eq!(found.trim(), expected.trim(), "{}: {title}", path.display());
            }
        }
        if update {
            fs::write(&path, anew.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(bad >= 30, "{bad} bad manifests");
}

/// Every example is right as it stands.
#[test]
fn examples_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let problems = messages(&[(&path.display().to_string(), &text)]);
            assert!(problems.is_empty(), "{problems:#?}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} examples");
}
