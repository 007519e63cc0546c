//! What a caller gets from a freshly made recommender: the documented answer, item by item.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    manifests::{PLAIN, WHOLE},
    program::Desk,
    server::{Server, ids},
};

/// The world's files: title and category by item, items by user.
struct World {
    titles: BTreeMap<String, String>,
    categories: BTreeMap<String, Vec<String>>,
    histories: BTreeMap<String, BTreeSet<String>>,
}

impl World {
    fn of(desk: &Desk) -> Self {
        desk.with_manifest("dataset", &[]).refused(2, &[]);
        let words = ["dataset", "generate", "-f", "manifest.yaml", "--out", "files", "--format", "jsonl"];
        desk.run(&words).good();
        let rows = |name: &str| -> Vec<Value> {
            let text = std::fs::read_to_string(desk.path("files").join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let text =
            |row: &Value, field: &str| row[field].as_str().unwrap_or_else(|| panic!("{field} of {row}")).to_owned();
        let mut world = Self { titles: BTreeMap::new(), categories: BTreeMap::new(), histories: BTreeMap::new() };
        for row in rows("items.jsonl") {
            world.titles.insert(text(&row, "id"), text(&row, "title"));
            let category = text(&row, "category").split('|').map(str::to_owned).collect();
            world.categories.insert(text(&row, "id"), category);
        }
        for row in rows("interactions.jsonl") {
            world.histories.entry(text(&row, "user")).or_default().insert(text(&row, "item"));
        }
        world
    }
}

#[test]
fn the_answer_is_the_documented_one() {
    let desk = Desk::new(WHOLE);
    let world = World::of(&desk);
    let server = Server::start(&desk);
    let answer = server.recommend(&json!({"user": "u42", "k": 10}));

    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["items", "release", "stages", "fallback"]);
    assert_eq!(answer["fallback"], Value::Null);
    assert_eq!(ids(&answer).len(), 10);
    let mut codes = BTreeSet::new();
    let mut last = f64::INFINITY;
    for item in answer["items"].as_array().unwrap() {
        let keys: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["id", "title", "score", "semanticId", "tasks"]);
        assert_eq!(item["title"], world.titles[item["id"].as_str().unwrap()].as_str());
        let score = item["score"].as_f64().unwrap();
        let tasks = ["click", "like"].map(|task| item["tasks"][task].as_f64().unwrap());
        assert!((score - tasks[0] - 2.0 * tasks[1]).abs() < 1e-5, "{item}: weights are click 1, like 2");
        assert!(score <= last, "{item} after {last}: best first");
        last = score;
        assert!(codes.insert(item["semanticId"].to_string()), "{item}: two items with one semantic ID");
        assert_eq!(item["semanticId"].as_array().unwrap().len(), 3, "two levels and one that tells items apart");
    }

    let release = &answer["release"];
    let part = |name: &str| name.split('@').next().unwrap().to_owned();
    let models = release["models"].as_object().unwrap();
    let models: Vec<_> = models.iter().map(|(stage, model)| (stage.as_str(), part(model.as_str().unwrap()))).collect();
    assert_eq!(models, [("fallback", "popular".into()), ("rank", "ranker".into()), ("retrieve", "retriever".into())]);
    assert_eq!(part(release["name"].as_str().unwrap()), "home");
    assert_eq!(part(release["tokenizer"].as_str().unwrap()), "ids");
    assert!(release["catalog"].as_str().unwrap().starts_with("sha256:"));
    let stages: Vec<&str> =
        answer["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(stages, ["tokenize", "retrieve", "rank"]);
    assert!(answer["stages"].as_array().unwrap().iter().all(|stage| stage["ms"].as_f64().unwrap() >= 0.0));

    let again = server.recommend(&json!({"user": "u42"}));
    assert_eq!(again["items"], answer["items"], "the same question, the same answer; k is 10 unless said");
}

#[test]
fn every_field_of_a_request_does_what_it_says() {
    let desk = Desk::new(WHOLE);
    let world = World::of(&desk);
    let server = Server::start(&desk);

    let all = server.recommend(&json!({"user": "u42", "k": 40}));
    let seen = &world.histories["u42"];
    let unseen: BTreeSet<&str> = world.titles.keys().map(String::as_str).filter(|item| !seen.contains(*item)).collect();
    assert_eq!(ids(&all).into_iter().collect::<BTreeSet<_>>(), unseen, "everything but what was seen, once");
    assert_eq!(ids(&all).len(), unseen.len());

    let first = ids(&all)[0].to_owned();
    let without = server.recommend(&json!({"user": "u42", "k": 40, "exclude": [first, "no such item"]}));
    assert_eq!(ids(&without), ids(&all)[1..], "exclude removes its item and changes nothing else");

    let category = world.categories[&first].last().unwrap().clone();
    let filtered = server.recommend(&json!({"user": "u42", "k": 40, "filters": {"category": [category]}}));
    let fits: BTreeSet<&str> =
        unseen.iter().copied().filter(|item| world.categories[*item].contains(&category)).collect();
    assert!(fits.len() < unseen.len());
    assert_eq!(ids(&filtered).into_iter().collect::<BTreeSet<_>>(), fits);
    let nothing = server.recommend(&json!({"user": "u42", "filters": {"category": ["no such value"]}}));
    assert_eq!(ids(&nothing), Vec::<&str>::new());

    let inline = server.recommend(&json!({"history": ["i7", "i9"], "k": 40}));
    assert_eq!(ids(&inline).len(), 38);
    assert!(!ids(&inline).contains(&"i7") && !ids(&inline).contains(&"i9"));
    assert_eq!(inline["fallback"], Value::Null);
    let strange = server.recommend(&json!({"history": ["never seen", "i7", "i9"], "k": 40}));
    assert_eq!(strange["items"], inline["items"], "an item that training never saw is left out");

    let long: Vec<String> = (0..10_000).map(|at| format!("i{}", at % 30)).collect();
    let long = server.recommend(&json!({"history": long, "k": 40}));
    assert_eq!(
        ids(&long).into_iter().collect::<BTreeSet<_>>(),
        (30..40).map(|i| format!("i{i}")).collect::<Vec<_>>().iter().map(String::as_str).collect::<BTreeSet<_>>(),
        "a history of 10,000 items, 30 of them different"
    );

    for stranger in [json!({"user": "nobody", "k": 5}), json!({"history": ["never seen"], "k": 5})] {
        let answer = server.recommend(&stranger);
        assert_eq!(ids(&answer).len(), 5, "{stranger}");
        assert_eq!(answer["fallback"]["reason"], "coldStart", "{stranger}");
        assert_eq!(answer["fallback"]["stage"], "retrieve", "{stranger}");
    }
    let named = server.recommend(&json!({"user": "u42", "k": 40, "pipeline": "home", "deadlineMs": 10_000}));
    assert_eq!(named["items"], all["items"]);
}

#[test]
fn pipelines_are_asked_by_name() {
    let desk = Desk::new(&format!("{WHOLE}{PLAIN}"));
    let server = Server::start(&desk);
    let plain = server.recommend(&json!({"user": "u42", "k": 5, "pipeline": "plain"}));
    assert!(plain["release"]["name"].as_str().unwrap().starts_with("plain@"));
    let keys: Vec<&String> = plain["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "title", "score", "semanticId"], "nothing ranks, so there are no tasks");
    let problem = server.post(r#"{"user":"u42"}"#);
    assert_eq!((problem.status, problem.json()["field"].as_str()), (400, Some("pipeline")), "which one is not said");
    let problem = server.post(r#"{"user":"u42","pipeline":"elsewhere"}"#);
    assert_eq!(problem.status, 404);
    assert!(problem.text().contains("home, plain"), "{}", problem.text());
}
