//! Real data, where `RECMESH_DATA` names the folder that holds it: the films of MovieLens 100k come back with their titles.

use std::{env, path::PathBuf};

use serde_json::json;

use super::{
    program::Desk,
    server::{Server, ids},
};

/// `examples/ml-100k.yaml` with one short epoch of small models.
fn small() -> String {
    let mut manifest = include_str!("../../examples/ml-100k.yaml").to_owned();
    for (full, small) in [
        ("dim: 64", "dim: 16"),
        ("blocks: 2", "blocks: 1"),
        ("maxLength: 100", "maxLength: 20"),
        ("epochs: 60", "epochs: 1"),
        ("epochs: 5", "epochs: 1"),
        ("experts: 4", "experts: 1"),
        ("historyLength: 20", "historyLength: 5"),
        ("patience: 8}", "patience: 8, sample: 100}"),
        ("k: [10, 50]", "k: [10]\n  sample: 100\n  bootstrap: 20"),
    ] {
        assert!(manifest.contains(full), "the example no longer says {full}");
        manifest = manifest.replace(full, small);
    }
    manifest
}

#[test]
fn films_come_back_with_their_titles() {
    let folder = env::var_os("RECMESH_DATA").map(|folder| PathBuf::from(folder).join("ml-100k"));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        println!("SKIPPED: RECMESH_DATA does not name a folder with ml-100k");
        return;
    };
    let desk = Desk::new(&small());
    let server = Server::start_with(&desk, &["--data", &format!("movies={}", folder.display())]);
    for request in [json!({"history": ["50", "181"], "k": 5}), json!({"user": "42", "k": 5})] {
        let answer = server.recommend(&request);
        assert_eq!(ids(&answer).len(), 5, "{request}");
        assert!(answer["fallback"].is_null(), "{answer}");
        for item in answer["items"].as_array().unwrap() {
            let title = item["title"].as_str().unwrap();
            assert!(title.len() > 1 && !title.contains('\t'), "{item}");
        }
    }
    let known = server.recommend(&json!({"history": ["1"], "k": 100, "exclude": ["1"]}));
    let titles: Vec<&str> =
        known["items"].as_array().unwrap().iter().filter_map(|item| item["title"].as_str()).collect();
    assert!(titles.iter().any(|title| title.contains(' ')), "titles of several words: {titles:?}");
    let old = server.recommend(&json!({"history": ["50"], "filters": {"release_year": ["1977"]}, "k": 100}));
    assert!(!ids(&old).contains(&"50") && !ids(&old).is_empty(), "{old}");
}
