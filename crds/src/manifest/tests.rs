//! Manifests in, messages out. `tests/*.txt` hold the cases: `=== what it shows`, the file, `>>>`, every message.
//! `UPDATE=1` writes the messages anew; read the difference before you keep it.

use std::{collections::BTreeSet, fs, path::Path};

use kube::core::cel::Validator;
use serde_json::{Value, json};

use super::*;
use crate::{Resource, schema::each};

fn messages(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    match parse(&files) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ManifestError::to_string).collect(),
    }
}

fn cases() -> Vec<(std::path::PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manifest/tests");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The parts of a case: what it shows, the manifest, the messages.
fn parts(case: &str) -> (&str, &str, &str) {
    let (title, rest) = case.split_once('\n').unwrap();
    let (text, expected) = rest.split_once(">>>\n").unwrap();
    (title, text, expected)
}

#[test]
fn every_message_is_as_written() {
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let mut bad = 0;
    for (path, file) in cases() {
        let mut anew = String::new();
        for case in file.split("=== ").skip(1) {
            let (title, text, expected) = parts(case);
            let found = messages(&[("a.yaml", text)]);
            let found: String = found.iter().map(|message| format!("{message}\n")).collect();
            anew.push_str(&format!("=== {title}\n{text}>>>\n{found}\n"));
            bad += usize::from(!found.is_empty());
            if !update {
                assert_eq!(found.trim(), expected.trim(), "{}: {title}", path.display());
            }
        }
        if update {
            fs::write(path, anew.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(bad >= 30, "{bad} bad manifests");
}

/// Every CEL rule of every schema is broken by some case, so no rule is dead or mistyped.
#[test]
fn every_rule_refuses_something() {
    let mut rules = BTreeSet::new();
    for kind in Kind::ALL {
        each(&mut definition(kind).schema.clone(), &mut |node| {
            for rule in node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                assert!(rule["message"].as_str().is_some_and(|text| !text.is_empty()), "{kind}: {rule}");
                rules.insert(rule["rule"].as_str().unwrap().to_owned());
            }
        });
    }
    let mut broken = BTreeSet::new();
    let mut run = |kind: Kind, document: &Value, old: Option<&Value>| {
        if let Err(errors) = Validator::new().validate_with_defaults(&definition(kind).schema, document, old) {
            broken.extend(errors.into_iter().map(|error| error.rule));
        }
    };
    for (_, file) in cases() {
        for case in file.split("=== ").skip(1) {
            for document in tree::read(parts(case).1).0 {
                let document = document.value("", &mut Places::default());
                if let Some(kind) = document["kind"].as_str().and_then(Kind::parse) {
                    run(kind, &document, None);
                }
            }
        }
    }
    for (kind, field, from, to) in CHANGES {
        let document = |text: &str| json!({"spec": {*field: serde_json::from_str::<Value>(text).unwrap()}});
        run(*kind, &document(to), Some(&document(from)));
    }
    let managed = |by: &str| json!({"spec": {"managedBy": by}});
    run(Kind::TrainingJob, &managed("others"), Some(&managed("us")));
    let untried: Vec<_> = rules.difference(&broken).collect();
    assert!(untried.is_empty(), "add a case to tests/rules.txt that breaks: {untried:#?}");
    assert!(rules.len() >= 15, "{rules:?}");
}

/// What may not change once a resource exists.
const CHANGES: &[(Kind, &str, &str, &str)] = &[
    (Kind::Tokenizer, "datasetRef", r#"{"name":"a"}"#, r#"{"name":"b"}"#),
    (Kind::RetrievalModel, "datasetRef", r#"{"name":"a"}"#, r#"{"name":"b"}"#),
    (Kind::RankingModel, "datasetRef", r#"{"name":"a"}"#, r#"{"name":"b"}"#),
    (Kind::TrainingJob, "modelRef", r#"{"kind":"RankingModel","name":"a"}"#, r#"{"kind":"RetrievalModel","name":"a"}"#),
    (Kind::EvaluationJob, "modelRef", r#"{"kind":"RankingModel","name":"a"}"#, r#"{"kind":"RankingModel","name":"b"}"#),
];

#[test]
fn references_cannot_change() {
    for (kind, field, from, to) in CHANGES {
        let document = |text: &str| json!({"spec": {*field: serde_json::from_str::<Value>(text).unwrap()}});
        let schema = json!({"properties": {"spec": {"properties": {
            *field: definition(*kind).schema.pointer(&format!("/properties/spec/properties/{field}")).unwrap(),
        }}}});
        let run = |to: &str| Validator::new().validate_with_defaults(&schema, &document(to), Some(&document(from)));
        assert!(run(from).is_ok(), "{kind}.{field} may stay");
        let errors = run(to).unwrap_err();
        assert_eq!(errors[0].reason.as_deref(), Some("FieldValueForbidden"), "{kind}.{field}");
        assert!(errors[0].message.contains("cannot change"), "{}", errors[0].message);
    }
}

const WORLD: &str = "\
# a comment first
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world, labels: {team: \"1\"}}
spec:
  source: {planted: {users: &n 50, items: *n}}
---
---
apiVersion: recmesh.dev/v1alpha1
kind: Pipeline
metadata:
  name: home
spec:
  tokenizerRef: {name: ids}
  retrieve: {modelRef: {name: m}}
  deadline: 1m30s
";

#[test]
fn documents_become_typed_resources_that_know_their_place() {
    let located = parse(&[("w.yaml".to_owned(), WORLD.to_owned())]).unwrap();
    let [world, home] = located.as_slice() else { panic!("{located:?}") };
    let Resource::Dataset(dataset) = &world.resource else { panic!("{world:?}") };
    let recmesh_contract::config::Source::Planted(planted) = &dataset.spec.params.source else { panic!("planted") };
    assert_eq!((planted.users, planted.items, planted.length), (50, 50, 20), "aliases and defaults are filled in");
    assert_eq!((world.line, world.locate("/spec/source/planted/items")), (2, Position { line: 6, column: 36 }));
    assert_eq!(world.locate("/spec/split/time"), Position { line: 5, column: 1 }, "the nearest that is written");
    assert!(world.written("/spec/source") && !world.written("/spec/split"));
    let Resource::Pipeline(pipeline) = &home.resource else { panic!("{home:?}") };
    assert_eq!(pipeline.spec.route.deadline.0, 90_000);
    assert_eq!((home.line, home.name.as_str()), (9, "home"));
    let error = home.error("/spec/weights/a~1b", "no such task").to_string();
    assert_eq!(error, "w.yaml:13:1: Pipeline/home spec.weights[\"a/b\"]: no such task");
}

/// What a resource is written as reads back the same: `recmesh get` and the operator write through JSON.
#[test]
fn resources_survive_json() {
    for located in parse(&[("w.yaml".to_owned(), WORLD.to_owned())]).unwrap() {
        let written = match &located.resource {
            Resource::Dataset(dataset) => serde_json::to_value(dataset).unwrap(),
            Resource::Pipeline(pipeline) => serde_json::to_value(pipeline).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(!written.to_string().contains("null"), "{written}");
        let check = &CHECKS[located.kind() as usize];
        assert!(check.validator.as_ref().unwrap().is_valid(&written), "{written}");
        let text = serde_yaml::to_string(&written).unwrap();
        assert_eq!(messages(&[("again.yaml", &text)]), Vec::<String>::new());
    }
}

#[test]
fn names_are_unique_over_all_files() {
    let one =
        "apiVersion: recmesh.dev/v1alpha1\nkind: Dataset\nmetadata: {name: world}\nspec: {source: {planted: {}}}\n";
    let expected =
        "b.yaml:3:12: Dataset/world metadata.name: already declared at a.yaml:3: give one of them another name";
    assert_eq!(messages(&[("a.yaml", one), ("b.yaml", one)]), [expected]);
    let tokenizer = one.replace("Dataset", "Tokenizer");
    let tokenizer = tokenizer.replace("source: {planted: {}}", "datasetRef: {name: world}, algorithm: {atomic: {}}");
    assert_eq!(messages(&[("a.yaml", one), ("b.yaml", &tokenizer)]), Vec::<String>::new());
}

#[test]
fn errors_come_in_the_order_of_files_and_lines() {
    let bad = "kind: Dataset\napiVersion: v1\nspec: 3\n---\nkind: x\n";
    let places: Vec<String> = messages(&[("z.yaml", bad), ("a.yaml", "")])
        .iter()
        .map(|message| message.split(": ").next().unwrap().to_owned())
        .collect();
    let mut sorted = places.clone();
    sorted.sort_by_key(|place| (!place.starts_with('z'), place.clone()));
    assert_eq!(places, sorted);
    assert_eq!(places.last().map(String::as_str), Some("a.yaml:1:1"));
}

/// A few lines must not become gigabytes.
#[test]
fn aliases_do_not_explode() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    let found = messages(&[("a.yaml", &text)]);
    assert!(found[0].contains("aliases copy more than 10000 values"), "{found:?}");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(200_000), vec!["*a"; 5000].join(", "));
    let found = messages(&[("a.yaml", &long)]);
    assert!(found[0].contains("aliases copy more than 10000 values"), "{found:?}");
    let deep = "[".repeat(5000);
    assert!(!messages(&[("a.yaml", &deep)]).is_empty());
}
