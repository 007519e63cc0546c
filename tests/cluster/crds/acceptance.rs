//! Every definition is taken by the API server, client-side and server-side, from two minor versions of kubectl.

use std::fs;

use crate::harness::{Cluster, Kubectl, OURS, PLURALS, await_kinds};

/// Bytes of all definitions together.
const ALL: u64 = 300_000;
/// Bytes of an annotation, in which client-side apply keeps the whole definition.
const ONE: u64 = 256 * 1024;

fn definitions() -> String {
    Cluster::file("crds/yaml").to_str().unwrap().to_owned()
}

fn remove(kubectl: &Kubectl) {
    kubectl.run(&["delete", "--ignore-not-found", "--wait", "--timeout=60s", "-f", &definitions()]).good();
}

#[test]
fn definitions_are_small() {
    let files = fs::read_dir(definitions()).unwrap().map(|entry| entry.unwrap());
    let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), OURS.len());
    assert!(sizes.iter().all(|size| *size < ONE), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() < ALL, "{sizes:?}");
}

#[test]
fn both_versions_of_kubectl_apply_them_either_way() {
    for kubectl in [Kubectl::previous(), Kubectl::current()] {
        for way in [&["--server-side"][..], &[]] {
            remove(&kubectl);
            let folder = definitions();
            let words = [&["apply", "-f", &folder], way].concat();
            let told = kubectl.run(&words).good();
            assert_eq!(told.err, "", "without a warning");
            await_kinds(&kubectl);
            // What was applied is what is stored: defaults of the API server are no changes.
            let generations = || {
                let path = "-o=jsonpath={.items[*].metadata.generation}";
                kubectl.run(&["get", "-f", &folder, path]).good().out
            };
            let before = generations();
            kubectl.run(&words).good();
            assert_eq!(generations(), before);
            kubectl.run(&["diff", "-f", &folder]).good();
        }
    }
}

#[test]
fn who_applied_client_side_may_go_over_to_server_side() {
    let (previous, current) = (Kubectl::previous(), Kubectl::current());
    remove(&current);
    previous.run(&["apply", "-f", &definitions()]).good();
    await_kinds(&current);
    current.run(&["apply", "--server-side", "-f", &definitions()]).good();
    previous.run(&["apply", "--server-side", "-f", &definitions()]).good();
}

#[tokio::test]
async fn kinds_are_found_by_short_name_and_category() {
    let space = crate::harness::Space::new("names").await;
    space.apply_file("examples/quickstart.yaml").await;
    let all = space.kubectl().run(&["get", "recmesh", "--output=name"]).good().out;
    for plural in PLURALS {
        let one = plural.strip_suffix('s').unwrap();
        assert!(all.contains(&format!("{one}.recmesh.dev/")), "no {one} in {all}");
        let definition =
            space.cluster.all("CustomResourceDefinition").get(&format!("{plural}.recmesh.dev")).await.unwrap();
        let names = &definition.data["spec"]["names"];
        for short in names["shortNames"].as_array().unwrap() {
            let got = space.kubectl().run(&["get", short.as_str().unwrap(), "--output=name"]).good().out;
            assert!(
                got.lines().all(|line| line.starts_with(&format!("{one}.recmesh.dev/"))) && !got.is_empty(),
                "{got}"
            );
        }
    }
    space.end().await;
}

#[tokio::test]
async fn every_kind_shows_where_it_stands_why_and_since_when() {
    let space = crate::harness::Space::new("columns").await;
    space.apply_file("examples/quickstart.yaml").await;
    for plural in PLURALS {
        let definition =
            space.cluster.all("CustomResourceDefinition").get(&format!("{plural}.recmesh.dev")).await.unwrap();
        let columns = definition.data.pointer("/spec/versions/0/additionalPrinterColumns").unwrap().as_array().unwrap();
        let shown = columns.iter().filter(|column| column["priority"].as_i64().unwrap_or(0) == 0);
        let shown: Vec<String> = shown.map(|column| column["name"].as_str().unwrap().to_uppercase()).collect();
        let table = space.kubectl().run(&["get", plural]).good().out;
        let header: Vec<&str> =
            table.lines().next().unwrap().split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
        assert_eq!(header[0], "NAME");
        assert_eq!(header[1..], shown, "{plural}");
        // What serves is ready; what runs once is complete.
        let first = if plural.ends_with("jobs") { "COMPLETE" } else { "READY" };
        assert_eq!((shown[0].as_str(), shown[1].as_str(), shown.last().unwrap().as_str()), (first, "REASON", "AGE"));
    }
    space.end().await;
}
