//! Ranking models against a naive f64 twin, on planted tasks with their controls, and on bad input.

mod learn;
mod naive;
mod parity;
mod planted;
mod storage;

use recmesh_contract::config::RankingParams;

use super::{AttributeTable, CategoricalFeature, InteractionFeatures, NumericFeature};

/// Two tasks, `like` weighing 1 and `love` weighing `second`.
pub(super) fn params(second: f64) -> RankingParams {
    let text = format!(
        r#"{{"algorithm": {{"mmoe": {{"experts": 3, "expertUnits": 12, "towerUnits": 8, "embedding": 6,
             "historyLength": 4, "dropout": 0.0}}}},
            "tasks": [{{"name": "like"}}, {{"name": "love", "weight": {second}}}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

pub(super) fn numeric() -> Vec<NumericFeature> {
    let values: Vec<f32> = (-50..50).map(|i| i as f32 / 20.0).collect();
    vec![NumericFeature::fit("x", &values, 8), NumericFeature { name: "flat".into(), boundaries: Vec::new() }]
}

pub(super) fn categorical() -> Vec<CategoricalFeature> {
    vec![CategoricalFeature { name: "c".into(), size: 5 }, CategoricalFeature { name: "d".into(), size: 1 }]
}

/// Twelve items in four genres (item 11 has none, item 10 two), six users of three kinds (user 5 has none).
pub(super) fn features() -> InteractionFeatures {
    let genres = |i: u32| match i {
        11 => vec![],
        10 => vec![1, 2],
        _ => vec![i % 4],
    };
    let kinds = |u: u32| if u == 5 { vec![] } else { vec![u % 3] };
    InteractionFeatures {
        popularity: (0..12).map(|i| i * i).collect(),
        item_attributes: vec![table("genre", 4, (0..12).map(genres))],
        users: 6,
        user_attributes: vec![table("kind", 3, (0..6).map(kinds))],
    }
}

pub(super) fn table(name: &str, size: u32, rows: impl Iterator<Item = Vec<u32>>) -> AttributeTable {
    let mut table = AttributeTable { name: name.into(), size, offsets: vec![0], ids: Vec::new() };
    for row in rows {
        table.ids.extend(row);
        table.offsets.push(table.ids.len() as u32);
    }
    table
}
