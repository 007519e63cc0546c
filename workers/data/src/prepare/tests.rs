//! Whole data sets from small literal files.
//!
//! In: parameters as a manifest writes them, and files of a few lines.
//! Out: numbers, orders and parts that can be checked by hand; errors as users see them.

use std::path::Path;
use std::sync::Mutex;

use recmesh_contract::{Progress, Silent};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{Examples, source_digest};

mod real;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn params(value: Value) -> DatasetParams {
    serde_json::from_value(value).unwrap()
}

fn interactions(dir: &Path, value: Value) -> Result<(Interactions, Summary), DataError> {
    let (dataset, summary) = prepare(&params(value), dir, &Silent)?;
    match dataset {
        Dataset::Interactions(data) => Ok((data, summary)),
        Dataset::Examples(_) => panic!("these are examples"),
    }
}

fn examples(dir: &Path, value: Value) -> Result<Examples, DataError> {
    match prepare(&params(value), dir, &Silent)?.0 {
        Dataset::Examples(data) => Ok(data),
        Dataset::Interactions(_) => panic!("these are interactions"),
    }
}

#[test]
fn sequences_with_titles_and_an_attribute_map() {
    let dir = folder(&[
        ("sequences.txt", "7 31 30 31\n5 30 29 28 31\n"),
        ("items.tsv", "item\tasin\ttext_id\n28\tB1\tsteel knife\n99\tB2\tnobody met this\n31\tB3\tcamp stove\n"),
        ("map.json", "{\"31\": [4, 5, 4], \"99\": [6], \"28\": [5]}"),
    ]);
    let (data, summary) = interactions(
        dir.path(),
        json!({"source": {"interactions": {
            "path": "sequences.txt", "format": {"sequences": {}},
            "items": {
                "path": "items.tsv", "format": {"delimited": {"separator": "\t"}}, "id": "item",
                "title": "text_id", "text": ["asin", "text_id"], "attributeMap": "map.json",
            },
        }}}),
    )
    .unwrap();
    assert_eq!(data.items.ids.iter().collect::<Vec<_>>(), ["31", "30", "29", "28"], "by first appearance");
    assert_eq!(data.users.ids.iter().collect::<Vec<_>>(), ["7", "5"]);
    assert_eq!(
        (0..4).map(|i| data.items.title(i)).collect::<Vec<_>>(),
        [Some("camp stove"), None, None, Some("steel knife")]
    );
    assert_eq!(data.items.text(3), Some("B1 steel knife"));
    let map = data.items.attribute("attribute").unwrap();
    assert_eq!(map.values, ["4", "5"], "values of items without a number are not kept");
    assert_eq!((0..4).map(|i| map.of(i)).collect::<Vec<_>>(), [&[0, 1][..], &[], &[], &[1]]);
    assert_eq!((data.sequences.of(0), data.sequences.train(1)), (&[0, 1, 0][..], &[1, 2][..]));
    assert_eq!((summary.rows, summary.users, summary.items, summary.parts), (7, 2, 4, [3, 2, 2]));
    let metrics: Vec<_> = summary.metrics().into_iter().map(|m| (m.name, m.value, m.split)).collect();
    assert!(metrics.contains(&("rows".into(), 7.0, None)));
    assert!(metrics.contains(&("rows".into(), 2.0, Some("test".into()))));
}

#[test]
fn recbole_files_need_no_columns() {
    let dir = folder(&[
        (
            "s.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\ta\t5\t30\n1\tb\t2\t10\n1\tc\t4\t20\n",
        ),
        (
            "s.item",
            "item_id:token\tmovie_title:token_seq\tclass:token_seq\na\tToy Story\tAnimation Comedy\nc\t\tComedy\n",
        ),
        ("s.user", "user_id:token\tage:token\n1\t24\n"),
    ]);
    let value = json!({"source": {"interactions": {
        "path": "s.inter", "format": {"recBole": {}},
        "items": {"path": "s.item", "format": {"recBole": {}}, "id": "item_id", "title": "movie_title", "attributes": ["class"]},
        "users": {"path": "s.user", "format": {"recBole": {}}, "id": "user_id", "attributes": ["age"]},
    }}, "history": {"column": "rating", "atLeast": 4.0}});
    let (data, summary) = interactions(dir.path(), value.clone()).unwrap();
    assert_eq!(data.rows.item, [1, 2, 0], "by time");
    assert_eq!(data.rows.label("rating").unwrap(), [2.0, 4.0, 5.0]);
    assert_eq!(data.rows.in_history, [false, true, true]);
    assert_eq!(data.sequences.items, [2, 0]);
    assert_eq!(data.history_ends(), [0, 0, 1]);
    assert_eq!(data.history_before(0, 2, &data.history_ends()), [2]);
    assert_eq!(data.items.attribute("class").unwrap().values_of(0).collect::<Vec<_>>(), ["Animation", "Comedy"]);
    assert_eq!((data.items.title(0), data.items.title(2)), (Some("Toy Story"), None));
    assert_eq!(data.users.attribute("age").unwrap().values, ["24"]);
    assert_eq!((summary.first_time, summary.last_time, summary.history_rows), (Some(10), Some(30), 2));

    // The folder may be the main file itself, whatever it is called.
    let moved = dir.path().join("mine.txt");
    std::fs::rename(dir.path().join("s.inter"), &moved).unwrap();
    assert_eq!(interactions(&moved, value.clone()).unwrap().0, data);
    let error = interactions(dir.path(), value).unwrap_err().to_string();
    assert!(error.contains("s.inter") && error.contains("relative to the data set's folder"), "{error}");
}

#[test]
fn equal_times_are_ordered_by_the_tie_rule() {
    let dir = folder(&[("i.csv", "u,i,t\n1,b,5\n1,10,5\n1,9,5\n1,z,4\n")]);
    let order = |tie: &str| {
        let source = json!({"path": "i.csv", "format": {"delimited": {}}, "tieBreak": tie,
            "columns": {"user": "u", "item": "i", "time": "t"}});
        let (data, _) = interactions(dir.path(), json!({"source": {"interactions": source}})).unwrap();
        data.rows.item.iter().map(|&item| data.items.id(item as usize).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order("fileOrder"), ["z", "b", "10", "9"]);
    assert_eq!(order("itemId"), ["z", "10", "9", "b"], "as text");
}

#[test]
fn behaviours_and_labels_come_with_their_rows() {
    let dir = folder(&[(
        "i.jsonl",
        "{\"u\":1,\"i\":10,\"t\":2,\"b\":\"view\",\"w\":0.5}\n{\"u\":2,\"i\":11,\"t\":1,\"b\":\"buy\"}\n\
         {\"u\":1,\"i\":11,\"t\":1,\"b\":\"buy\",\"w\":null}\n",
    )]);
    let columns = json!({"user": "u", "item": "i", "time": "t", "behaviour": "b", "labels": ["w"]});
    let source = json!({"path": "i.jsonl", "format": {"jsonLines": {}}, "columns": columns});
    let value = json!({"source": {"interactions": source}, "history": {"column": "behaviour", "is": "buy"}});
    let (data, _) = interactions(dir.path(), value).unwrap();
    let behaviour = data.rows.behaviour.as_ref().unwrap();
    assert_eq!(
        (behaviour.names.as_slice(), behaviour.ids.as_slice()),
        (&["view".into(), "buy".into()][..], &[1, 0, 1][..])
    );
    let watched = data.rows.label("w").unwrap();
    assert!(watched[0].is_nan() && watched[1] == 0.5 && watched[2].is_nan());
    assert_eq!(data.rows.user_of_each(), [0, 0, 1]);
    assert_eq!(data.sequences.of(0), [1]);
}

#[test]
fn bad_rows_are_counted_and_refused_above_the_share() {
    let mut text = "u,i,t\n".to_owned();
    for row in 0..100 {
        text += &if row % 8 == 3 { format!("1,{row},soon\n") } else { format!("1,{row},{row}\n") };
    }
    let dir = folder(&[("i.csv", &text)]);
    let source = json!({"path": "i.csv", "format": {"delimited": {}},
        "columns": {"user": "u", "item": "i", "time": "t"}});
    let value = |allowed: f64| json!({"source": {"interactions": source}, "maxBadRows": allowed});
    let (data, summary) = interactions(dir.path(), value(0.13)).unwrap();
    assert_eq!((summary.bad_rows, summary.rows, data.items.len()), (13, 87, 87), "bad rows name no items");
    assert_eq!(summary.first_bad.len(), 10);
    assert_eq!(summary.first_bad[0].to_string(), "i.csv:5: t is \"soon\", not a whole number");
    let error = interactions(dir.path(), value(0.12)).unwrap_err().to_string();
    assert!(error.contains("13 of 100 rows are bad, more than maxBadRows 0.12"), "{error}");
    assert!(error.contains("i.csv:5: t is \"soon\"") && error.contains("i.csv:77:"), "{error}");
}

#[test]
fn wrong_columns_paths_and_empty_files_are_clear() {
    let dir = folder(&[
        ("i.csv", "user,item\n1,2\n"),
        ("e.csv", "user,item\n"),
        ("i.jsonl", "{}\n"),
        ("m.json", "{\"2\": [1]}"),
    ]);
    let source = |path: &str, columns: Value| json!({"source": {"interactions": {"path": path, "format": {"delimited": {}}, "columns": columns}}});
    let error = |value: Value| interactions(dir.path(), value).unwrap_err().to_string();
    let names = json!({"user": "user", "item": "item"});
    assert!(error(source("i.csv", json!({"user": "user", "item": "movie"}))).contains("the columns are user, item"));
    assert!(error(source("i.csv", json!(null))).starts_with("source.interactions.columns: "));
    let sequences = json!({"path": "i.csv", "format": {"sequences": {}}, "columns": names});
    assert!(error(json!({"source": {"interactions": sequences}})).contains("leave it out"));
    let strangers = json!({"path": "i.csv", "format": {"delimited": {}}, "columns": names,
        "items": {"path": "i.csv", "format": {"delimited": {}}, "id": "user"}});
    assert!(error(json!({"source": {"interactions": strangers}})).contains("is \"user\" its column with the ids?"));
    assert!(error(source("e.csv", names.clone())).contains("e.csv: there is no row in it"));
    assert!(error(source("no.csv", names.clone())).contains("cannot open"));
    assert!(error(source(".", names.clone())).contains("it is a folder"));
    assert!(error(source("../i.csv", names.clone())).contains("leaves the data set's folder"));
    let jsonl = json!({"path": "i.jsonl", "format": {"jsonLines": {}}, "columns": names});
    assert!(error(json!({"source": {"interactions": jsonl}})).contains("there is no column \"user\""));
    let twice = json!({"path": "i.csv", "format": {"delimited": {}}, "columns": names,
        "items": {"path": "m.json", "format": {"jsonMap": {}}, "attributeMap": "m.json"}});
    assert!(error(json!({"source": {"interactions": twice}})).starts_with("attributeMap: "));
}

/// Examples in the manner of the census: no header, blanks after commas.
fn census(files: Value) -> Value {
    let mut source = json!({
        "path": "train.csv", "format": {"delimited": {"header": false}},
        "numeric": ["0", "1"], "categorical": ["2"],
        "labels": [{"name": "rich", "column": "3", "positive": "50000+."}, {"name": "old", "column": "4"}],
    });
    source.as_object_mut().unwrap().extend(files.as_object().unwrap().clone());
    json!({"source": {"examples": source}})
}

#[test]
fn examples_are_standardised_and_numbered_by_the_train_rows() {
    let dir = folder(&[
        ("train.csv", "10, 5, cook, 50000+., 1\n20, 5, smith, - 50000., 0\n, 5, cook, - 50000., 0.0\n"),
        ("valid.csv", "1000, 6, king, 50000+., 1\n15, 5, smith, 50000+., 0\n30,?,,-50000.,1\n"),
    ]);
    let data = examples(dir.path(), census(json!({"validationPath": "valid.csv"}))).unwrap();
    let [age, flat] = &data.numeric[..] else { panic!() };
    assert_eq!((age.mean, age.deviation), (15.0, 5.0), "of the two train rows that have a number");
    assert_eq!(age.values, [-1.0, 1.0, 0.0, 197.0, 0.0, 3.0]);
    assert_eq!((flat.mean, flat.deviation, &flat.values), (5.0, 1.0, &vec![0.0, 0.0, 0.0, 1.0, 0.0, 0.0]));
    assert_eq!(data.categorical[0].values, ["", "cook", "smith"]);
    assert_eq!(data.categorical[0].ids, [1, 2, 1, 0, 2, 0], "unseen and missing are 0");
    assert_eq!(data.labels[0], ("rich".into(), vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0]));
    assert_eq!(data.labels[1].1, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(data.rows(Part::Train), [0, 1, 2]);
    assert_eq!((data.rows(Part::Validation), data.rows(Part::Test)), (vec![3, 4, 5], vec![]));
}

#[test]
fn examples_without_files_for_the_parts_are_split_by_file_order() {
    let rows: String = (0..10).map(|row| format!("{row},1,c{row},50000+.,1\n")).collect();
    let dir = folder(&[("train.csv", &rows), ("test.csv", "1,1,c1,-,0\n")]);
    let mut value = census(json!({}));
    let error = examples(dir.path(), value.clone()).unwrap_err().to_string();
    assert!(error.starts_with("split: leaveOneOut needs users") && error.contains("split.time"), "{error}");
    value["split"] = json!({"time": {"validation": 0.2, "test": 0.1}});
    let data = examples(dir.path(), value.clone()).unwrap();
    assert_eq!((data.rows(Part::Validation), data.rows(Part::Test)), (vec![7, 8], vec![9]));
    assert_eq!(data.categorical[0].values.len(), 8, "seven train categories and the unseen one");
    value["source"]["examples"]["testPath"] = json!("test.csv");
    let data = examples(dir.path(), value).unwrap();
    assert_eq!((data.rows(Part::Validation), data.rows(Part::Test)), (vec![8, 9], vec![10]));
}

#[test]
fn labels_are_0_or_1() {
    let dir = folder(&[("train.csv", "1,1,a,x,1\n1,1,a,x,2\n1,1,a,x,\n")]);
    let mut value = census(json!({"validationPath": "train.csv"}));
    value["maxBadRows"] = json!(0.5);
    let error = examples(dir.path(), value).unwrap_err().to_string();
    assert!(error.contains("train.csv:2: label 4 is 2, not 0 or 1") && error.contains("label 4 is empty"), "{error}");
}

#[test]
fn the_digest_is_of_the_contents() {
    let value = json!({"source": {"interactions": {"path": "s.txt", "format": {"sequences": {}},
        "items": {"path": "m.json", "format": {"jsonMap": {}}}}}});
    let digest = |files: &[(&str, &str)]| source_digest(&params(value.clone()), folder(files).path()).unwrap();
    let one = digest(&[("s.txt", "1 2 3"), ("m.json", "{}")]);
    assert_eq!(one.len(), 64);
    assert_eq!(one, digest(&[("s.txt", "1 2 3"), ("m.json", "{}"), ("other", "x")]));
    assert_ne!(one, digest(&[("s.txt", "1 2 4"), ("m.json", "{}")]));
    assert_ne!(one, digest(&[("s.txt", "1 2 3{"), ("m.json", "}")]), "files are kept apart");
}

#[test]
fn progress_ends_at_the_files_size() {
    #[derive(Default)]
    struct Told(Mutex<Vec<(u64, u64)>>);
    impl Reporter for Told {
        fn progress(&self, progress: Progress) {
            assert_eq!(progress.step, "reading");
            self.0.lock().unwrap().push((progress.done, progress.total));
        }
    }
    let text: String = (0..200_000).map(|row| format!("{} {} {row}\n", row % 100, row % 77)).collect();
    let dir = folder(&[("s.txt", &text)]);
    let value = json!({"source": {"interactions": {"path": "s.txt", "format": {"sequences": {}}}}});
    let told = Told::default();
    prepare(&params(value), dir.path(), &told).unwrap();
    let told = told.0.into_inner().unwrap();
    assert!(told.len() >= 3 && told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&(text.len() as u64, text.len() as u64)));
}
