//! Ranking models: one query and many, longer ones than a batch holds, rows of features.
//!
//! In: small models with fresh weights. Out: what their rankers allocate.

use recmesh_contract::config;
use recmesh_contract::{ItemIndex, Rank, RankQuery};
use recmesh_models::ranking::{
    AttributeTable, CategoricalFeature, InteractionFeatures, InteractionMmoe, NumericFeature, TabularMmoe, TabularRow,
};

use super::counting::{ITEMS, ROUNDS, Spent, check, histories, spent};
use super::retrieval::{FORMATS, in_format};

fn ranking() -> config::RankingParams {
    let text = r#"{"algorithm": {"mmoe": {"experts": 3, "expertUnits": 12, "towerUnits": 8, "embedding": 6,
        "historyLength": 9}}, "tasks": [{"name": "like"}, {"name": "love"}]}"#;
    serde_json::from_str(text).unwrap()
}

/// An attribute with none, one or two values.
fn attribute(size: u32, rows: u32) -> AttributeTable {
    let mut table = AttributeTable { name: "kind".into(), size, offsets: vec![0], ids: Vec::new() };
    for row in 0..rows {
        table.ids.extend((0..row % 3).map(|at| (row + at) % size));
        table.offsets.push(table.ids.len() as u32);
    }
    table
}

#[test]
fn a_ranker_of_items_allocates_its_answers_only() {
    let features = InteractionFeatures {
        popularity: (0..ITEMS).map(|item| item % 90).collect(),
        item_attributes: vec![attribute(4, ITEMS), attribute(7, ITEMS)],
        users: 40,
        user_attributes: vec![attribute(3, 40)],
    };
    let model = InteractionMmoe::new(&ranking(), features, 4).unwrap();
    let histories = histories();
    let items: Vec<ItemIndex> = (0..ITEMS).cycle().take(5000).collect();
    let query = |user: usize, candidates: usize| RankQuery {
        history: &histories[user],
        user: (!user.is_multiple_of(4)).then_some(user as u32),
        candidates: &items[user..user + candidates],
    };
    // One query, a longer one than a batch holds, many, one without history, some without candidates.
    let stranger = RankQuery { history: &[], ..query(0, 50) };
    let requests = [
        vec![query(3, 100)],
        vec![query(8, 4100)],
        (0..32).map(|user| query(user, 100 - user)).collect(),
        vec![stranger.clone()],
        vec![query(1, 0), query(2, 30), stranger, query(4, 0)],
    ];
    let rankers = FORMATS.map(|format| in_format(&model, format).ranker());
    for (what, mut first) in ["E4M3", "int8", "f32"].into_iter().zip(rankers.into_iter().chain([model.ranker()])) {
        let mut fork = first.fork();
        for (which, ranker) in [("ranker", &mut first), ("fork of a ranker", &mut fork)] {
            let ranker: &mut dyn Rank = &mut **ranker;
            check(&format!("{which}, {what}"), &requests, |queries| ranker.rank(queries).unwrap());
        }
    }
}

#[test]
fn a_ranker_of_rows_allocates_its_answer_only() {
    let numbers: Vec<f32> = (0..100).map(|i| i as f32 / 7.0).collect();
    let numeric = vec![NumericFeature::fit("a", &numbers, 8), NumericFeature::fit("b", &numbers, 4)];
    let categorical = vec![CategoricalFeature { name: "c".into(), size: 5 }];
    let model = TabularMmoe::new(&ranking(), numeric, categorical, 4).unwrap();
    let row = |i: u32| TabularRow { numeric: vec![i as f32, -1.0], categorical: vec![i % 7], ..TabularRow::default() };
    let rows: Vec<TabularRow> = (0..1500).map(row).collect();
    let requests = [1, 40, 1500].map(|count| rows[..count].iter().collect::<Vec<_>>());
    let rankers = FORMATS.map(|format| in_format(&model, format).ranker());
    for mut ranker in rankers.into_iter().chain([model.ranker()]) {
        for request in [&requests; ROUNDS].into_iter().flatten() {
            ranker.score(request).unwrap();
        }
        for request in &requests {
            let (scores, spent) = spent(|| ranker.score(request).unwrap());
            assert_eq!(scores.len(), 2 * request.len());
            assert_eq!(spent, Spent { allocations: 1, bytes: size_of_val(&scores[..]) }, "{} rows", request.len());
        }
    }
}
