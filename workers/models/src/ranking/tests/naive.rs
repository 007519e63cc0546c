//! The mixture of experts written out in f64, straight from the formulas, reading weights by name.

use recmesh_kernels::{Params, Tensor};

use super::super::{
    InteractionFeatures, InteractionRow, NumericFeature, TabularRow,
    features::{count_bucket, squash},
};

fn tensor<'a>(params: &'a Params, name: &str) -> &'a Tensor {
    params.tensors().iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no weight {name}"))
}

fn row(params: &Params, name: &str, i: usize) -> Vec<f64> {
    let t = tensor(params, name);
    t.data[i * t.cols..(i + 1) * t.cols].iter().map(|&x| f64::from(x)).collect()
}

fn product(params: &Params, name: &str, x: &[f64]) -> Vec<f64> {
    let t = tensor(params, name);
    assert_eq!(t.cols, x.len(), "{name}");
    (0..t.rows).map(|o| row(params, name, o).iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn add(a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|v| (v - top).exp()).sum();
    x.iter().map(|v| (v - top).exp() / sum).collect()
}

fn mean(params: &Params, name: &str, ids: &[u32]) -> Vec<f64> {
    let mut out = vec![0.0; tensor(params, name).cols];
    for &id in ids {
        out = add(out, &row(params, name, id as usize));
    }
    out.iter().map(|x| x / ids.len().max(1) as f64).collect()
}

/// Probabilities of the tasks for an input in parts.
fn mixture(params: &Params, parts: &[(&str, Vec<f64>)], experts: usize, tasks: usize) -> Vec<f64> {
    let first = |name: &str| {
        parts.iter().fold(row(params, &format!("{name}.bias"), 0), |sum, (part, x)| {
            add(sum, &product(params, &format!("{name}.{part}"), x))
        })
    };
    let hidden: Vec<f64> = first("experts").iter().map(|x| x.max(0.0)).collect();
    let width = hidden.len() / experts;
    let scores = first("gates");
    (0..tasks)
        .map(|t| {
            let gate = softmax(&scores[t * experts..(t + 1) * experts]);
            let mixed: Vec<f64> =
                (0..width).map(|d| (0..experts).map(|e| gate[e] * hidden[e * width + d]).sum()).collect();
            let name = |end: &str| format!("towers.{t}.{end}");
            let tower = add(product(params, &name("hidden"), &mixed), &row(params, &name("hidden.bias"), 0));
            let tower: Vec<f64> = tower.iter().map(|x| x.max(0.0)).collect();
            let logit = product(params, &name("logit"), &tower)[0] + row(params, &name("logit.bias"), 0)[0];
            1.0 / (1.0 + (-logit).exp())
        })
        .collect()
}

/// Probabilities of a row of features.
pub(super) fn tabular(params: &Params, numeric: &[NumericFeature], example: &TabularRow, experts: usize) -> Vec<f64> {
    let mut x: Vec<f64> = example.numeric.iter().map(|&v| f64::from(squash(v))).collect();
    for (i, feature) in numeric.iter().enumerate() {
        x.extend(row(params, &format!("numeric.{i}"), feature.bucket(example.numeric[i]) as usize));
    }
    for (i, &id) in example.categorical.iter().enumerate() {
        x.extend(row(params, &format!("categorical.{i}"), id as usize));
    }
    mixture(params, &[("row", x)], experts, 2)
}

/// Probabilities of an item for a user.
pub(super) fn interaction(
    params: &Params,
    features: &InteractionFeatures,
    example: &InteractionRow,
    (experts, length): (usize, usize),
) -> Vec<f64> {
    let past = &example.history[example.history.len().saturating_sub(length)..];
    let item = |i: u32| {
        let popularity = count_bucket(features.popularity[i as usize] as usize) as usize;
        let mut x = [row(params, "items", i as usize), row(params, "popularity", popularity)].concat();
        for (a, table) in features.item_attributes.iter().enumerate() {
            x.extend(mean(params, &format!("itemAttributes.{a}"), table.of(i)));
        }
        x
    };
    let mut user = row(params, "historyLength", count_bucket(past.len()) as usize);
    user.extend(mean(params, "items", past));
    for (a, table) in features.user_attributes.iter().enumerate() {
        user.extend(mean(params, &format!("userAttributes.{a}"), example.user.map_or(&[], |u| table.of(u))));
    }

    let candidate = item(example.item);
    let query = product(params, "attention.query", &candidate);
    let scale = (query.len() as f64).sqrt();
    let recency = row(params, "attention.recency", 0);
    let score = |(place, &i): (usize, &u32)| {
        let key = product(params, "attention.key", &item(i));
        key.iter().zip(&query).map(|(k, q)| k * q).sum::<f64>() / scale + recency[past.len() - place]
    };
    let scores: Vec<f64> = past.iter().enumerate().map(score).collect();
    let mut found = vec![0.0; query.len()];
    for (weight, &i) in softmax(&scores).iter().zip(past) {
        let value: Vec<f64> = product(params, "attention.value", &item(i)).iter().map(|v| v * weight).collect();
        found = add(found, &value);
    }
    let agreement: Vec<f64> = found.iter().zip(&query).map(|(a, b)| a * b).collect();
    mixture(params, &[("user", user), ("item", [candidate, found, agreement].concat())], experts, 2)
}
