//! Data sets as users bring them: missing, empty, short, broken; and planted worlds written as files.

use serde_json::Value;

use super::{
    manifests::{COUNTED, counted_over},
    program::Desk,
};

const SEQUENCES: &str = "  source: {interactions: {path: rows.txt, format: {sequences: {}}}}\n";
const CSV: &str = "  source:
    interactions:
      path: rows.csv
      format: {delimited: {}}
      columns: {user: user, item: item, time: time}
";

/// Metrics of a report of `train -o json`, without their intervals.
fn metrics(told: &str, kind: &str) -> Vec<(String, Option<String>, f64)> {
    let told: Value = serde_json::from_str(told).unwrap();
    let jobs = told["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["kind"] == kind).unwrap();
    let metrics = job["metrics"].as_array().unwrap().iter();
    metrics
        .map(|metric| {
            let text = |key: &str| metric.get(key).and_then(Value::as_str).map(str::to_owned);
            (text("name").unwrap(), text("split"), metric["value"].as_f64().unwrap())
        })
        .collect()
}

#[test]
fn a_missing_file_is_named_with_the_way_to_say_where_it_lies() {
    let desk = Desk::new(&counted_over(SEQUENCES));
    desk.train(&[]).refused(1, &["Dataset/world", "rows.txt"]);
    desk.train(&["--data", "world=nowhere"]).refused(2, &["--data world=nowhere"]);
    desk.train(&["--data", "elsewhere=."]).refused(2, &["--data elsewhere", "world"]);
    desk.train(&["--data", "world"]).refused(2, &["NAME=PATH"]);
    let twice = desk.train(&["--data", "world=.", "--data", "world=manifest.yaml"]);
    twice.refused(2, &["--data world=", "more than once"]);
    std::fs::create_dir(desk.path("rows.txt")).unwrap();
    desk.train(&[]).refused(1, &["Dataset/world", "rows.txt"]);
}

#[test]
fn data_may_lie_elsewhere_and_only_its_content_counts() {
    let desk = Desk::new(&counted_over(SEQUENCES));
    for folder in ["here", "there"] {
        std::fs::create_dir(desk.path(folder)).unwrap();
        desk.write(&format!("{folder}/rows.txt"), "ann a b c\nbob b c a\ncyd c a b\n");
    }
    desk.train(&["--data", "world=here"]).good();
    let made = desk.artifacts();
    let told = desk.train(&["--data", "world=there"]).good();
    assert!(!told.err.contains(" done in "), "{}", told.err);
    desk.write("here/rows.txt", "ann a b c\nbob b c a\ncyd c b a\n");
    let told = desk.train(&["--data", "world=here"]).good();
    assert!(!told.err.contains("in store"), "{}", told.err);
    assert!(desk.artifacts().len() > made.len());
}

#[test]
fn vectors_lie_with_the_data_set_also_where_its_main_file_is_given() {
    let tokenizer = "---
apiVersion: recmesh.dev/v1alpha1
kind: Tokenizer
metadata: {name: ids}
spec:
  datasetRef: {name: world}
  algorithm: {rqKMeans: {levels: 1, codebookSize: 2, vectors: {file: {path: v.npy, ids: ids.txt}}}}
";
    let desk = Desk::new(&format!("{}{tokenizer}", counted_over(SEQUENCES)));
    std::fs::create_dir(desk.path("away")).unwrap();
    desk.write("away/mine.txt", "ann a b c\nbob b c a\ncyd c a b\n");
    desk.write("away/ids.txt", "a\nb\nc\n");
    desk.train(&["--data", "world=away/mine.txt"]).refused(1, &["Tokenizer/ids", "away/v.npy"]);
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }");
    let mut matrix = b"\x93NUMPY\x01\x00".to_vec();
    matrix.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    matrix.extend(header.as_bytes());
    matrix.extend([0.0f32, 1.0, 1.0, 0.0, 5.0, 5.0].iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(desk.path("away/v.npy"), &matrix).unwrap();
    desk.train(&["--data", "world=away/mine.txt"]).good();
    let last = matrix.len() - 2;
    matrix[last] ^= 1;
    std::fs::write(desk.path("away/v.npy"), &matrix).unwrap();
    let told = desk.train(&["--data", "world=away/mine.txt"]).good();
    let line = told.err.lines().find(|line| line.starts_with("Tokenizer/ids")).unwrap();
    assert!(line.contains(" done in "), "other vectors make another tokenizer: {line}");
}

#[test]
fn an_empty_data_set_is_refused() {
    for (name, dataset, text) in
        [("rows.txt", SEQUENCES, ""), ("rows.txt", SEQUENCES, "\n\n"), ("rows.csv", CSV, "user,item,time\n")]
    {
        let desk = Desk::new(&counted_over(dataset));
        desk.write(name, text);
        desk.train(&[]).refused(1, &["Dataset/world", name]);
    }
}

#[test]
fn a_user_with_one_interaction_only_trains() {
    let desk = Desk::new(&counted_over(SEQUENCES));
    desk.write("rows.txt", "ann a b c d\nbob b\ncyd c a b\n");
    let told = desk.train(&["-o", "json"]).good();
    let dataset = metrics(&told.out, "Dataset");
    for (split, rows) in [("train", 4.0), ("validation", 2.0), ("test", 2.0)] {
        assert!(dataset.contains(&("rows".into(), Some(split.into()), rows)), "{dataset:?}");
    }
    let alone = Desk::new(&counted_over(SEQUENCES));
    alone.write("rows.txt", "ann a\n");
    let told = alone.train(&[]).refused(1, &["EvaluationJob/popular-test"]);
    assert!(told.err.contains("test"), "nothing to evaluate on: {}", told.err);
}

#[test]
fn bad_rows_are_counted_shown_and_refused_above_their_share() {
    let good: String = (0..99).map(|row| format!("u{},i{},{row}\n", row % 9, row % 7)).collect();
    let write = |desk: &Desk, bad: &str| desk.write("rows.csv", &format!("user,item,time\n{good}{bad}"));
    let desk = Desk::new(&counted_over(CSV));
    write(&desk, "u1,i1,noon\n");
    let told = desk.train(&["-o", "json"]).good();
    assert!(metrics(&told.out, "Dataset").contains(&("badRows".into(), None, 1.0)), "{}", told.out);
    let shown = "1 bad rows left out, among them";
    let (line, row) = (told.err.find(shown).unwrap(), told.err.find("rows.csv:101: ").unwrap());
    assert!(told.err.find("Dataset/world").unwrap() < line && line < row, "{}", told.err);
    assert!(told.out.contains(shown) && told.out.contains("rows.csv:101: "), "{}", told.out);
    let again = desk.train(&["-o", "json"]).good();
    assert!(
        again.err.contains("in store") && again.err.contains("rows.csv:101: "),
        "a data set in store too: {again:?}"
    );
    assert!(again.out.contains("rows.csv:101: "), "{}", again.out);

    write(&desk, "u1,i1,noon\n,i2,7\n");
    let told = desk.train(&[]).refused(1, &["rows.csv", "2 of 101 rows are bad", "maxBadRows", "101", "102"]);
    assert!(told.err.contains("Dataset/world"), "{}", told.err);
    let lenient = Desk::new(&counted_over(&format!("{CSV}  maxBadRows: 0.05\n")));
    write(&lenient, "u1,i1,noon\n,i2,7\n");
    lenient.train(&[]).good();
}

#[test]
fn a_generated_world_reads_back_as_itself() {
    let split = "seed: 7}}\n  split: {time: {validation: 0.2, test: 0.1}}\n  history: {column: click, atLeast: 1}\n";
    let desk = Desk::new(&COUNTED.replace("seed: 7}}\n", split));
    let direct = desk.train(&["-o", "json"]).good();
    let evaluation = COUNTED.split_once("---\n").unwrap().1;
    for format in ["csv", "jsonl", "recbole"] {
        let words = ["dataset", "generate", "-f", "manifest.yaml", "--out", format, "--format", format];
        let told = desk.run(&words).good();
        assert!(told.out.contains("dataset.yaml"), "{}", told.out);
        desk.write(&format!("{format}/rest.yaml"), evaluation);
        let (dataset, rest, state) =
            (format!("{format}/dataset.yaml"), format!("{format}/rest.yaml"), format!("state-{format}"));
        let told = desk.run(&["train", "-f", &dataset, "-f", &rest, "--state", &state, "-o", "json"]);
        let told = told.good();
        for kind in ["Dataset", "EvaluationJob"] {
            assert_eq!(metrics(&told.out, kind), metrics(&direct.out, kind), "{format}: {kind}");
        }
    }
    desk.run(&["dataset", "generate", "-f", "csv/dataset.yaml", "--out", "again"]).refused(1, &["planted"]);
    let words = ["dataset", "generate", "-f", "manifest.yaml", "--out", "x", "--name", "other"];
    desk.run(&words).refused(2, &["other", "world"]);
}
