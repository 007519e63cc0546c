//! Real data sets, where `RECMESH_DATA` names a folder with them: counts are those that their sources publish.
//!
//! In: whole public data sets. Out: rows, users, items, vocabularies and rates.
//! Without the folder every test here says so and returns.

use std::path::PathBuf;

use super::*;

/// The folder of a real data set; says aloud when there is none.
fn real(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("RECMESH_DATA").map(|root| PathBuf::from(root).join(name)).filter(|dir| dir.is_dir());
    if found.is_none() {
        println!("skipped: RECMESH_DATA names no folder with {name}");
    }
    found
}

/// Reads a file of interactions; rows, users and items.
fn counts(set: &str, source: Value) -> Option<(u64, u64, u64)> {
    let (_, summary) =
        interactions(&real(set)?, json!({"source": {"interactions": source}, "maxBadRows": 0.0})).unwrap();
    Some((summary.rows, summary.users, summary.items))
}

fn check(set: &str, source: Value, expect: (u64, u64, u64)) {
    if let Some(found) = counts(set, source) {
        assert_eq!(found, expect, "{set}: rows, users, items");
    }
}

#[test]
fn sequence_files_have_their_published_counts() {
    let sequences = |path: &str| json!({"path": path, "format": {"sequences": {}}});
    check("amazon-instruments", sequences("sequences.txt"), (206_153, 24_772, 9_922));
    check("amazon-games", sequences("interactions.txt"), (287_107, 31_013, 23_715));
    if let Some((rows, users, _)) = counts("xdomain-food-kitchen", sequences("sequences.txt.gz")) {
        assert_eq!((rows, users), (173_548, 7_144));
    }
    // Behaviours in files of their own; published with the test row of each user left out.
    for (set, buys, carts) in [("taobao-mb", 211_022, 193_747), ("beibei-mb", 282_860, 642_622)] {
        for (file, expect) in [("buy.train.txt", buys), ("cart.train.txt", carts)] {
            let Some(dir) = real(set) else { continue };
            let value = json!({"source": {"interactions": sequences(file)}, "maxBadRows": 1.0});
            let (_, summary) = interactions(&dir, value).unwrap();
            assert_eq!(summary.rows, expect, "{set}/{file}");
        }
    }
}

#[test]
fn sequence_files_with_attributes_have_their_published_counts() {
    for (set, expect, attributes) in [
        ("amazon-sports", (296_337, 35_598, 18_357), None),
        ("yelp", (316_354, 30_431, 20_033), Some(1_001)),
        ("lastfm", (52_551, 1_090, 3_646), Some(388)),
    ] {
        let Some(dir) = real(set) else { continue };
        let items = match set {
            "amazon-sports" => json!({"path": "items.tsv", "format": {"delimited": {"separator": "\t"}}, "id": "item",
                "title": "text_id", "attributeMap": "item2attributes.json"}),
            _ => json!({"path": "item2attributes.json", "format": {"jsonMap": {}}}),
        };
        let source = json!({"path": "sequences.txt", "format": {"sequences": {}}, "items": items});
        let (data, summary) = interactions(&dir, json!({"source": {"interactions": source}})).unwrap();
        assert_eq!((summary.rows, summary.users, summary.items), expect, "{set}");
        assert_eq!(summary.bad_rows, 0, "{set}");
        assert_eq!(data.sequences.targets(Part::Test).len() as u64, summary.users, "{set}: everybody has three items");
        let attribute = data.items.attribute(MAP_ATTRIBUTE).unwrap();
        if let Some(count) = attributes {
            assert_eq!(attribute.values.len(), count, "{set}");
        }
        assert!(attribute.ids.len() > data.items.len(), "{set}");
        if set == "amazon-sports" {
            let first = data.items.ids.iter().position(|id| id == "2").unwrap();
            assert_eq!(data.items.title(first), Some("tipton polymer gun cleaning picks"));
        }
    }
}

#[test]
fn movies_have_titles_classes_and_users() {
    let Some(dir) = real("ml-100k") else { return };
    let rec_bole = |file: &str, id: &str| json!({"path": file, "format": {"recBole": {}}, "id": id});
    let mut items = rec_bole("ml-100k.item", "item_id");
    items["title"] = json!("movie_title");
    items["attributes"] = json!(["class", "release_year"]);
    let mut users = rec_bole("ml-100k.user", "user_id");
    users["attributes"] = json!(["age", "gender", "occupation"]);
    let source = json!({"path": "ml-100k.inter", "format": {"recBole": {}}, "items": items, "users": users});
    let (data, summary) = interactions(&dir, json!({"source": {"interactions": source}, "maxBadRows": 0.0})).unwrap();
    assert_eq!((summary.rows, summary.users, summary.items, summary.bad_rows), (100_000, 943, 1_682, 0));
    let toy_story = data.items.ids.iter().position(|id| id == "1").unwrap();
    assert_eq!(data.items.title(toy_story), Some("Toy Story"));
    let class: Vec<_> = data.items.attribute("class").unwrap().values_of(toy_story).collect();
    assert_eq!(class, ["Animation", "Children's", "Comedy"]);
    assert_eq!(data.users.attribute("gender").unwrap().values.len(), 2);
    assert_eq!(data.users.attribute("occupation").unwrap().values.len(), 21);
    assert_eq!(data.rows.label("rating").unwrap().iter().filter(|&&rating| rating == 5.0).count(), 21_201);
}

#[test]
fn grocery_pairs_and_bandit_logs_have_their_counts() {
    let tab = json!({"delimited": {"separator": "\t"}});
    let columns = json!({"user": "user_id", "item": "item_id", "time": "time"});
    let mut source = json!({"path": "interactions.tsv", "format": tab, "columns": columns, "tieBreak": "itemId"});
    source["items"] = json!({"path": "item_meta.tsv.gz", "format": tab, "id": "item_id",
        "attributes": ["i_category", "r_complement"]});
    check("amazon-grocery", source, (121_892, 14_681, 8_687));
    let bare = json!({"delimited": {"separator": "\t", "header": false}});
    let pair =
        |file: &str| json!({"path": file, "format": bare, "columns": {"user": "0", "item": "1", "labels": ["2"]}});
    for (file, expect) in [("sport_phone.train.txt.gz", 50_558), ("phone_sport.train.txt.gz", 42_446)] {
        if let Some((rows, users, _)) = counts("xdomain-disencdr", pair(file)) {
            assert_eq!((rows, users), (expect, 4_998), "{file}");
        }
    }
    let log = json!({"path": "random_men.csv.gz", "format": {"delimited": {}},
        "columns": {"user": "", "item": "item_id", "labels": ["click", "propensity_score"]}});
    if let Some((rows, _, items)) = counts("open-bandit", log) {
        assert_eq!((rows, items), (10_000, 34));
    }
}

#[test]
fn json_lines_of_items_give_titles_to_requests() {
    let Some(dir) = real("amazon-industrial") else { return };
    let tab = json!({"delimited": {"separator": "\t"}});
    let items = json!({"path": "items.jsonl.gz", "format": {"jsonLines": {}}, "id": "item", "title": "title",
        "text": ["title", "description"], "attributes": ["brand", "sid"]});
    let source = json!({"path": "test.tsv", "format": tab, "columns": {"user": "user", "item": "target_item"},
        "items": items});
    let (data, summary) = interactions(&dir, json!({"source": {"interactions": source}})).unwrap();
    assert_eq!((summary.rows, summary.bad_rows), (4_533, 0));
    assert!((0..data.items.len()).all(|item| data.items.title(item).is_some()), "every target is described");
}

#[test]
fn the_census_has_its_rows_and_rates() {
    let Some(dir) = real("census-income") else { return };
    let numeric: Vec<String> = [0, 5, 16, 17, 18, 30, 39].map(|column: u32| column.to_string()).into();
    let skipped = [7, 24, 41];
    let categorical: Vec<String> = (0..42u32)
        .filter(|column| !skipped.contains(column))
        .map(|column| column.to_string())
        .filter(|column| !numeric.contains(column))
        .collect();
    let source = json!({"path": "train.csv.gz", "validationPath": "valid.csv.gz",
        "format": {"delimited": {"header": false}}, "numeric": numeric, "categorical": categorical,
        "labels": [{"name": "income", "column": "41", "positive": "50000+."},
                   {"name": "never-married", "column": "7", "positive": "Never married"}]});
    let data = examples(&dir, json!({"source": {"examples": source}, "maxBadRows": 0.0})).unwrap();
    assert_eq!((data.rows(Part::Train).len(), data.rows(Part::Validation).len()), (49_881, 14_964));
    let rate = |label: usize| data.labels[label].1[..49_881].iter().sum::<f32>() / 49_881.0;
    assert!((rate(0) - 0.062).abs() < 0.001, "{}", rate(0));
    assert!((rate(1) - 0.434).abs() < 0.001, "{}", rate(1));
    let job = data.categorical.iter().find(|column| column.name == "1").unwrap();
    assert!(job.values.contains(&"Private".to_owned()), "{:?}", job.values);
}
