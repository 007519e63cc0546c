//! The API server refuses what local mode refuses. In: the manifests and messages that the `crds` room's own tests keep.
//! Out: what kubectl says of the same manifests.
//!
//! Rules (CEL) must say the same words. Wrong types, ranges and unknown fields are worded by the API server.

use std::fs;

use crate::harness::{Cluster, Space};

/// A document of a case: its text and what local mode says of it, as `field: message`.
struct Document {
    title: String,
    text: String,
    expected: Vec<String>,
}

fn cases(file: &str) -> Vec<Document> {
    let text = fs::read_to_string(Cluster::file(&format!("crds/src/manifest/tests/{file}"))).unwrap();
    let mut found = Vec::new();
    for case in text.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (manifests, messages) = rest.split_once(">>>\n").unwrap();
        for text in manifests.split("---\n") {
            // By words: some cases hold numbers that no reader of YAML takes.
            let word = |before: &str| text.split_once(before).unwrap().1.split(['\n', '}']).next().unwrap();
            let of = format!(" {}/{} ", word("kind: "), word("metadata: {name: "));
            let expected = messages.lines().filter_map(|line| line.split_once(&of)).map(|(_, said)| said.to_owned());
            found.push(Document { title: title.to_owned(), text: text.to_owned(), expected: expected.collect() });
        }
    }
    found
}

#[tokio::test]
async fn rules_say_the_same_words() {
    let space = Space::new("rules").await;
    let mut said = 0;
    for Document { title, text, expected } in cases("rules.txt") {
        let told = space.kubectl().feed(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &text);
        if expected.is_empty() {
            told.good();
            continue;
        }
        // Rules are not asked about an object that has unknown fields.
        if expected.iter().any(|line| line.contains("unknown field")) {
            told.refused(1, &[]);
            continue;
        }
        let messages: Vec<&str> = expected.iter().map(|line| line.split_once(": ").unwrap().1).collect();
        said += messages.len();
        let told = told.refused(1, &messages);
        for line in &expected {
            let field = line.split_once(": ").unwrap().0;
            assert!(told.err.contains(field), "{title}: no {field} in {}", told.err);
        }
    }
    assert!(said >= 20, "only {said} messages were compared");
    space.end().await;
}

#[tokio::test]
async fn wrong_fields_are_refused_by_every_way_of_applying() {
    let space = Space::new("fields").await;
    let mut refused = 0;
    for Document { title, text, expected } in cases("fields.txt") {
        for words in [
            &["apply", "--server-side", "--dry-run=server", "-f", "-"][..],
            &["apply", "--dry-run=server", "-f", "-"],
            &["create", "--dry-run=server", "-f", "-"],
        ] {
            let told = space.kubectl().feed(words, &text);
            // An object without any field is free of form to server-side apply; what it does not know is dropped.
            let free =
                words.contains(&"--server-side") && expected.iter().any(|line| line.contains("none belongs here"));
            if expected.is_empty() || free {
                told.good();
            } else {
                assert_ne!(told.code, Some(0), "{title}: accepted, though {expected:?}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 40, "only {refused} were refused");
    space.end().await;
}

/// References are for life: what a resource has made belongs to what it named.
#[tokio::test]
async fn references_that_cannot_change_say_so() {
    let space = Space::new("immutable").await;
    space.apply_file("examples/quickstart.yaml").await;
    for (kind, name, patch, message) in [
        (
            "retrievalmodel",
            "retriever",
            r#"{"spec":{"datasetRef":{"name":"other"}}}"#,
            "datasetRef cannot change: make another model for another data set",
        ),
        (
            "rankingmodel",
            "ranker",
            r#"{"spec":{"datasetRef":{"name":"other"}}}"#,
            "datasetRef cannot change: make another model for another data set",
        ),
        (
            "trainingjob",
            "train-ranker",
            r#"{"spec":{"modelRef":{"name":"other"}}}"#,
            "modelRef cannot change: make another training job for another model",
        ),
        (
            "evaluationjob",
            "ranker-test",
            r#"{"spec":{"modelRef":{"name":"other"}}}"#,
            "modelRef cannot change: make another evaluation job for another model",
        ),
        (
            "tokenizer",
            "ids",
            r#"{"spec":{"datasetRef":{"name":"other"}}}"#,
            "datasetRef cannot change: make another tokenizer for another data set",
        ),
    ] {
        space.kubectl().run(&["patch", kind, name, "--type=merge", "--patch", patch]).refused(1, &[message]);
    }
    space.end().await;
}
