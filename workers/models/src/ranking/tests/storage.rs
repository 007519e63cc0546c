//! Saved models score the same; broken folders are refused by name.

use std::fs;

use recmesh_contract::RankQuery;

use super::{super::*, categorical, features, numeric, params};

fn refused<T>(result: Result<T, crate::ModelError>, wanted: &str) {
    let error = result.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains(wanted), "{error:?} lacks {wanted:?}");
}

#[test]
fn saved_models_score_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [
        TabularRow { numeric: vec![0.3, -2.0], categorical: vec![1, 0], labels: vec![] },
        TabularRow { numeric: vec![f32::NAN], categorical: vec![77], labels: vec![] },
    ];
    let borrowed: Vec<&TabularRow> = rows.iter().collect();
    let tabular = TabularMmoe::new(&params(1.0), numeric(), categorical(), 3).unwrap();
    tabular.save(dir.path()).unwrap();
    let before = tabular.ranker().score(&borrowed).unwrap();
    let mut loaded = load_tabular(dir.path()).unwrap();
    assert_eq!(loaded.score(&borrowed).unwrap(), before);
    assert_eq!(loaded.fork().score(&borrowed).unwrap(), before);
    assert_eq!(loaded.tasks(), ["like", "love"]);
    refused(load(dir.path()), "rows of features");

    let model = InteractionMmoe::new(&params(1.0), features(), 3).unwrap();
    model.save(dir.path()).unwrap();
    let candidates: Vec<u32> = (0..12).collect();
    let query = RankQuery { history: &[1, 2, 3], user: Some(4), candidates: &candidates };
    let before = model.ranker().rank(std::slice::from_ref(&query)).unwrap();
    assert_eq!(load(dir.path()).unwrap().rank(&[query]).unwrap(), before);
    refused(load_tabular(dir.path()), "items of interactions");
}

#[test]
fn broken_folders_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    refused(load(dir.path()), "model.json");
    InteractionMmoe::new(&params(1.0), features(), 3).unwrap().save(dir.path()).unwrap();
    let (json, arrays) = (dir.path().join("model.json"), dir.path().join("model.safetensors"));
    let (text, bytes) = (fs::read_to_string(&json).unwrap(), fs::read(&arrays).unwrap());
    let with = |text: &str, bytes: &[u8], wanted: &str| {
        fs::write(&json, text).unwrap();
        fs::write(&arrays, bytes).unwrap();
        refused(load(dir.path()), wanted);
    };
    with(&text, &bytes[..bytes.len() - 8], "model.safetensors");
    with(&text, &[], "model.safetensors");
    with(&text[..text.len() / 2], &bytes, "model.json");
    with(&text.replace("\"items\": 12", "\"items\": 13"), &bytes, "wanted 13");
    with(&text.replace("\"users\": 6", "\"users\": 7"), &bytes, "does not fit 7 rows");
    with(&text.replace("\"expertUnits\": 12", "\"expertUnits\": 4000000000"), &bytes, "experts.user");
    with(&text.replace("\"size\": 4", "\"size\": 400000000"), &bytes, "itemAttributes.0");
    with(&text.replace("\"size\": 4", "\"size\": 2"), &bytes, "does not fit 12 rows");
    fs::write(&json, &text).unwrap();
    fs::write(&arrays, &bytes).unwrap();
    assert!(load(dir.path()).is_ok());
}

#[test]
fn impossible_models_are_refused() {
    refused(TabularMmoe::new(&params(1.0), vec![], vec![], 1), "no features");
    refused(InteractionMmoe::new(&params(1.0), InteractionFeatures::default(), 1), "no items");
    let broken = InteractionFeatures { users: 99, ..features() };
    refused(InteractionMmoe::new(&params(1.0), broken, 1), "\"kind\"");
    let mut twice = params(1.0);
    twice.tasks[1].name = "like".into();
    refused(TabularMmoe::new(&twice, numeric(), categorical(), 1), "\"like\"");
    let mut idle = params(0.0);
    idle.tasks[0].weight = 0.0;
    refused(TabularMmoe::new(&idle, numeric(), categorical(), 1), "weight");
}
