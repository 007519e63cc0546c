//! Retrieval evaluation with models whose answers are known by construction.

use std::sync::Arc;

use recmesh_contract::{Candidate, Class, Failure, ItemIndex, Query, Silent, Ties, reason};
use recmesh_data::Entities;

use super::*;

type Score = dyn Fn(&[ItemIndex], ItemIndex) -> f32 + Send + Sync;

/// Scores item by item; takes part in no trick of the real models.
#[derive(Clone)]
struct Scorer {
    items: u32,
    score: Arc<Score>,
    /// Added to the answer after the rules of the contract were kept.
    extra: Option<ItemIndex>,
    illegal: u64,
}

fn scorer(items: u32, score: impl Fn(&[ItemIndex], ItemIndex) -> f32 + Send + Sync + 'static) -> Scorer {
    Scorer { items, score: Arc::new(score), extra: None, illegal: 5 }
}

impl Recommend for Scorer {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let answer = |query: &Query<'_>| {
            let tie = |item: u32| match query.ties {
                Ties::ByIndex => u64::from(item),
                Ties::Random(seed) => mix(seed, u64::from(item)),
            };
            let mut items: Vec<(f32, u64, u32)> = (0..self.items)
                .filter(|item| !query.exclude.contains(item))
                .map(|item| ((self.score)(query.history, item), tie(item), item))
                .collect();
            items.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            items.truncate(query.k);
            items.extend(self.extra.map(|item| (0.0, 0, item)));
            items.into_iter().map(|(score, _, item)| Candidate { item, score, tasks: vec![] }).collect()
        };
        // One ID in eleven decoded is illegal when ten items are answered.
        self.illegal += queries.len() as u64;
        let answers: Vec<Vec<Candidate>> = queries.iter().map(answer).collect();
        if answers.iter().flatten().any(|c: &Candidate| c.score == f32::INFINITY) {
            return Err(Failure::new(Class::Internal, reason::NOT_A_NUMBER, "score of item 3"));
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(self.clone())
    }

    fn illegal(&self) -> u64 {
        self.illegal
    }
}

/// Leave-one-out sequences: last item test, second last validation.
fn sequences(users: &[Vec<ItemIndex>]) -> Sequences {
    let mut made = Sequences { offsets: vec![0], ..Sequences::default() };
    for items in users {
        made.items.extend(items);
        let end = made.items.len() as u64;
        made.offsets.push(end);
        made.train_end.push(end - 2);
        made.validation_end.push(end - 1);
    }
    made
}

fn params() -> EvaluationParams {
    EvaluationParams {
        split: EvaluationSplit::Test,
        k: vec![10],
        masking: None,
        sample: 0,
        bootstrap: 0,
        shuffled_control: false,
        seed: 1,
        gates: vec![],
    }
}

fn value(metrics: &[Metric], name: &str, masking: &str, of: Option<&str>) -> f64 {
    let found = metrics
        .iter()
        .find(|metric| metric.name == name && metric.masking.as_deref() == Some(masking) && metric.of.as_deref() == of);
    found.unwrap_or_else(|| panic!("no {name} {masking} {of:?}")).value
}

/// Scores by closeness to the successor of the last item on a circle.
fn successor(items: u32) -> Scorer {
    scorer(items, move |history, item| {
        let wanted = (history.last().copied().unwrap_or(0) + 1) % items;
        -(((item + items - wanted) % items) as f32)
    })
}

#[test]
fn masked_and_raw_are_as_computed_by_hand() {
    // Four items on a circle. Test histories include the validation item.
    // user 0: [0, 1 | 2 | 3]: after 2 the order is 3 0 1 2; target 3 is first, masked and raw.
    // user 1: [3, 0 | 2 | 1]: raw order 3 0 1 2, target third; masked leaves only 1: first.
    // user 2: [2, 0 | 1 | 2]: raw order 2 3 0 1, target first; masked too: the target itself is never removed.
    let data = sequences(&[vec![0, 1, 2, 3], vec![3, 0, 2, 1], vec![2, 0, 1, 2]]);
    let params = EvaluationParams { k: vec![1, 3], ..params() };
    let metrics = evaluate(&successor(4), &data, 4, &params, 1, &Silent).unwrap();
    let get = |name: &str, masking: &str| value(&metrics, name, masking, None);
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
    near(get("recall@1", "raw"), 2.0 / 3.0);
    near(get("recall@3", "raw"), 1.0);
    near(get("ndcg@3", "raw"), 2.5 / 3.0);
    near(get("mrr@3", "raw"), (2.0 + 1.0 / 3.0) / 3.0);
    near(get("itemCoverage@1", "raw"), 0.5);
    near(get("itemCoverage@3", "raw"), 1.0);
    near(get("recall@1", "masked"), 1.0);
    near(get("ndcg@3", "masked"), 1.0);
    near(get("itemCoverage@1", "masked"), 0.75);
    assert_eq!(metrics.len(), 2 * (2 * 4 + 1), "both maskings: four metrics a cut-off and the illegal-ID rate");
    assert!(metrics.iter().all(|metric| metric.split.as_deref() == Some("test") && metric.interval.is_none()));

    // On validation the history ends one earlier: after 1 comes 2 (first), after 0 comes 1 (2 is second), after 0: 1.
    let params = EvaluationParams { split: EvaluationSplit::Validation, masking: Some(Masking::Raw), ..params };
    let metrics = evaluate(&successor(4), &data, 4, &params, 1, &Silent).unwrap();
    near(value(&metrics, "mrr@3", "raw", None), (1.0 + 0.5 + 1.0) / 3.0);
    assert!(metrics.iter().all(|metric| metric.masking.as_deref() == Some("raw")));
}

/// Users that stand at random places of a circle, with the successor as the next item.
fn circle(users: u32, items: u32) -> Sequences {
    let place = |user: u32| (mix(99, u64::from(user)) % u64::from(items)) as u32;
    let of = |user| (0..4).map(|step| (place(user) + step) % items).collect();
    sequences(&(0..users).map(of).collect::<Vec<_>>())
}

#[test]
fn equal_scores_hit_by_chance() {
    let metrics = evaluate(&scorer(50, |_, _| 0.0), &circle(3000, 50), 50, &params(), 2, &Silent).unwrap();
    // 10 of 50 raw, 10 of 47 masked; the standard deviation of 3000 rows is 0.0075.
    assert!((value(&metrics, "recall@10", "raw", None) - 0.2).abs() < 0.025);
    assert!((value(&metrics, "recall@10", "masked", None) - 10.0 / 47.0).abs() < 0.025);
    assert_eq!(value(&metrics, "itemCoverage@10", "raw", None), 1.0);
    assert!((value(&metrics, "illegalIdRate", "raw", None) - 1.0 / 11.0).abs() < 1e-12, "summed over forks");
}

#[test]
fn the_shuffled_control_falls_to_the_level_of_popularity() {
    // Places follow 1 / rank, so that some successors are popular. The model knows the successor and otherwise answers
    // by popularity; popularity knows nothing else.
    let items = 200u32;
    let weight = |rank: u32| 1.0 / f64::from(rank + 1);
    let total: f64 = (0..items).map(weight).sum();
    let place = |user: u64| {
        let mut left = (mix(3, user) >> 11) as f64 / (1u64 << 53) as f64 * total;
        (0..items).find(|&rank| {
            left -= weight(rank);
            left < 0.0
        })
    };
    let users: Vec<Vec<u32>> =
        (0..2000).map(|user| place(user).unwrap_or(0)).map(|at| vec![7, 7, at + 200, at]).collect();
    let data = sequences(&users);
    let popularity = scorer(400, |_, item| -(item as f32));
    let model = scorer(400, |history, item| if history.last() == Some(&(item + 200)) { 1.0 } else { -(item as f32) });
    let params = EvaluationParams { shuffled_control: true, bootstrap: 100, ..params() };
    let of_model = evaluate(&model, &data, 400, &params, 2, &Silent).unwrap();
    let of_popularity = evaluate(&popularity, &data, 400, &params, 2, &Silent).unwrap();
    let level = value(&of_popularity, "recall@10", "raw", None);
    assert!((0.4..0.6).contains(&level), "the ten most popular have half the mass: {level}");
    assert_eq!(value(&of_model, "recall@10", "raw", None), 1.0);
    assert!((value(&of_model, "recall@10", "raw", Some("control")) - level).abs() < 0.03);
    assert!((value(&of_popularity, "recall@10", "raw", Some("control")) - level).abs() < 0.03);
    let controls: Vec<&Metric> = of_model.iter().filter(|metric| metric.of.is_some()).collect();
    assert_eq!(controls.len(), 6);
    assert!(controls.iter().all(|metric| metric.interval.is_some_and(|(a, b)| a <= metric.value && metric.value <= b)));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let data = circle(300, 30);
    let params = EvaluationParams { k: vec![1, 5, 10], bootstrap: 50, shuffled_control: true, ..params() };
    let model = scorer(30, |history, item| ((history[0] * 7 + item * 13) % 7) as f32);
    let one = evaluate(&model, &data, 30, &params, 1, &Silent).unwrap();
    for threads in 2..6 {
        assert_eq!(evaluate(&model, &data, 30, &params, threads, &Silent).unwrap(), one);
    }
    let other = EvaluationParams { seed: 2, ..params };
    assert_ne!(evaluate(&model, &data, 30, &other, 1, &Silent).unwrap(), one, "ties follow the seed");
}

#[test]
fn quick_ndcg_is_the_masked_ndcg() {
    let items = Entities { ids: ["item"; 30].into_iter().collect(), ..Entities::default() };
    let data = Interactions { items, sequences: circle(300, 30), ..Interactions::default() };
    let model = scorer(30, |history, item| ((history[0] * 7 + item * 13) % 7) as f32);
    let params = EvaluationParams { split: EvaluationSplit::Validation, sample: 100, ..params() };
    let metrics = retrieval(&model, &data, &params, 2, &Silent).unwrap();
    let quick = quick_ndcg(&model, &data, Part::Validation, 10, 100, 3, params.seed).unwrap();
    assert!((quick - value(&metrics, "ndcg@10", "masked", None)).abs() < 1e-12);
    assert!(quick > 0.0);
    let all = quick_ndcg(&model, &data, Part::Validation, 10, 0, 3, params.seed).unwrap();
    assert_ne!(all, quick, "the sample is a part");
}

#[test]
fn broken_answers_and_empty_splits_are_refused() {
    let data = circle(70, 30);
    let run = |model: &Scorer| evaluate(model, &data, 30, &params(), 2, &Silent).unwrap_err().to_string();
    let poisoned = |bad: f32| {
        let target = data.of(66)[2];
        scorer(30, move |history, item| if history.last() == Some(&target) && item == 3 { bad } else { 0.0 })
    };
    let first = (0..70).find(|&user| data.of(user)[2] == data.of(66)[2]).unwrap_or(66);
    // The order of NaN in the fake is first; a real model reports it itself.
    assert_eq!(run(&poisoned(f32::NAN)), format!("the score of row {first} is not a number"));
    let failed = run(&poisoned(f32::INFINITY));
    assert!(failed.contains("notANumber: score of item 3") && failed.contains("the model failed on rows "), "{failed}");

    let with = |extra| Scorer { extra: Some(extra), ..scorer(30, |_, item| -(item as f32)) };
    assert!(run(&with(29)).contains("has 11 items, 10 were asked for"));
    let few = |extra| Scorer { items: 5, ..with(extra) };
    assert!(run(&few(77)).contains("has item 77 of only 30"));
    let raw = EvaluationParams { masking: Some(Masking::Raw), ..params() };
    let twice = evaluate(&few(3), &data, 30, &raw, 1, &Silent).unwrap_err().to_string();
    assert_eq!(twice, "the model's answer for row 0 has item 3 twice");
    let seen = data.of(0)[0];
    let only = sequences(&[data.of(0).to_vec()]);
    let masked = evaluate(&few(seen), &only, 30, &params(), 1, &Silent).unwrap_err().to_string();
    assert_eq!(masked, format!("the model's answer for row 0 has the excluded item {seen}"));

    let empty = evaluate(&successor(4), &sequences(&[]), 4, &params(), 1, &Silent).unwrap_err();
    assert!(matches!(empty, EvaluationError::NoTargets { split: "test" }));
}
