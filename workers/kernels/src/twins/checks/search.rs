//! Searching kernels: a beam's step over a trie, gathered rows, the item search.
//!
//! In: logits and tries, tables and queries. Out: outcomes. Scores lie within a bound of the exact ones; what was left out
//! may be better than the last kept only by as much as the two bounds allow; equal scores come in the order promised.

use super::{Meter, Outcome};
use crate::Level;
use crate::fp8::{Format, Quantised, Scaling};
use crate::twins::{BeamStep, Extension, ItemSearch, Kernels, Operation, Rows, bounds, cases, reference};

/// A level of a trie with a node a beam: how many children each has.
struct Trie {
    offsets: Vec<u32>,
    codes: Vec<u32>,
    nodes: Vec<u32>,
}

fn trie(seed: u64, beams: usize, codes: usize, most: usize) -> Trie {
    // Twice as many nodes as beams; every fifth has no child.
    let sizes = cases::indices(seed, 2 * beams, most.min(codes) as u32 + 1);
    let mut made =
        Trie { offsets: vec![0], codes: Vec::new(), nodes: (0..beams as u32).map(|b| 2 * b + b % 2).collect() };
    for (node, &size) in sizes.iter().enumerate() {
        let size = if node % 5 == 4 { 0 } else { size as usize };
        let mut children = cases::indices(seed + 1 + node as u64, size, codes as u32);
        children.sort_unstable();
        children.dedup();
        made.codes.extend(children);
        made.offsets.push(made.codes.len() as u32);
    }
    made
}

pub(super) fn check_step<K: Kernels>(kernels: &mut K) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let shapes = [
        (1, 8192, 4000, 512),
        (33, 256, 40, 64),
        (128, 8192, 300, 128),
        (4, 300, 3, 50),
        (0, 16, 4, 8),
        (7, 64, 64, 1),
    ];
    for (beams, codes, most, k) in shapes {
        for name in ["random", "equal", "outlying", "one beam far ahead", "NaN"] {
            let trie = trie(70, beams, codes, most);
            let mut logits = cases::normals(71, beams * codes);
            let mut scores: Vec<f32> = cases::normals(72, beams).iter().map(|x| -x.abs()).collect();
            match name {
                "equal" => {
                    logits.fill(0.25);
                    scores.fill(-1.0);
                }
                "outlying" => logits.iter_mut().step_by(11).for_each(|x| *x = -1e30),
                "one beam far ahead" => scores.iter_mut().skip(1).for_each(|x| *x -= 1e6),
                "NaN" if beams > 2 => logits[2 * codes + 5] = f32::NAN,
                _ => logits.iter_mut().for_each(|x| *x *= 4.0),
            }
            let problem = BeamStep {
                logits: Rows::new(&logits, codes),
                scores: &scores,
                nodes: &trie.nodes,
                offsets: &trie.offsets,
                codes: &trie.codes,
                k,
            };
            let mut meter = Meter::new(Operation::BeamStep, &format!("{name}, {beams} beams, {codes} codes, best {k}"));
            let found = kernels.beam_step(&problem);
            if let Some(found) = meter.result(found) {
                judge_step(&mut meter, kernels, &problem, &found);
            }
            outcomes.push(meter.outcome);
        }
    }
    outcomes
}

fn judge_step<K: Kernels>(meter: &mut Meter, kernels: &K, problem: &BeamStep<'_>, found: &[Extension]) {
    let exact = reference::extensions(problem);
    let of = |row: usize| problem.logits.row(row).iter().fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b)));
    let largest: Vec<f64> = (0..problem.scores.len()).map(of).collect();
    let bound = |extension: &Extension| {
        let parent = extension.parent as usize;
        let logit = problem.logits.row(parent)[extension.code as usize];
        let parts = [f64::from(problem.scores[parent]), f64::from(logit), largest[parent]];
        bounds::beam_step(kernels.arithmetic(), problem.logits.cols, parts)
    };
    let wanted = problem.k.min(exact.len());
    meter.expect(found.len() == wanted, || format!("{} extensions, not {wanted}", found.len()));
    let mut kept = vec![false; exact.len()];
    let mut slack = 0.0_f64;
    for extension in found {
        let Ok(at) = exact.binary_search_by_key(&extension.child, |exact| exact.child) else {
            meter.fault(|| format!("child {} is no child of a beam", extension.child));
            continue;
        };
        let right = &exact[at];
        meter.expect((right.parent, right.code) == (extension.parent, extension.code), || {
            format!("{extension:?} is not {right:?}")
        });
        meter.expect(!std::mem::replace(&mut kept[at], true), || format!("child {} twice", extension.child));
        let bound = bound(right);
        slack = slack.max(bound);
        meter.see(extension.score, right.score, bound);
    }
    for pair in found.windows(2) {
        let ordered = pair[0].score > pair[1].score || pair[0].score == pair[1].score && pair[0].child < pair[1].child;
        meter.expect(ordered, || format!("{:?} before {:?}", pair[0], pair[1]));
    }
    if let (Some(last), true) = (found.last(), found.len() == problem.k) {
        for (exact, _) in exact.iter().zip(&kept).filter(|(_, kept)| !**kept) {
            let excess = exact.score - last.score;
            meter.expect(excess <= slack + bound(exact), || format!("{exact:?} is missing, better by {excess:e}"));
        }
    }
}

pub(super) fn check_gather<K: Kernels>(kernels: &mut K, real: Rows<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let tables = [("adversarial", cases::adversarial(80, 40, 130), 130), ("trained", real.data.to_vec(), real.cols)];
    for (name, table, cols) in tables {
        for count in [0, 1, 77] {
            let table = Rows::new(&table, cols);
            let ids = cases::indices(81, count, table.rows() as u32);
            let mut meter = Meter::new(Operation::EmbeddingGather, &format!("{name}, {count} rows of {cols}"));
            let expected: Vec<(f64, f64)> =
                ids.iter().flat_map(|&id| table.row(id as usize)).map(|&x| (f64::from(x), 0.0)).collect();
            meter.all(kernels.embedding_gather(table, &ids), &expected);
            outcomes.push(meter.outcome);
        }
    }
    outcomes
}

pub(super) fn check_items<K: Kernels>(kernels: &mut K, real: Rows<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let twins = |mut table: Vec<f32>, width: usize| {
        // Every third row again, so that products are equal.
        let copy = table[..table.len() / 3 / width * width].to_vec();
        table.extend(copy);
        table
    };
    let tables = [
        ("random", cases::normals(90, 900 * 64), cases::normals(91, 5 * 64), 64),
        ("several chunks", cases::normals(92, 9000 * 16), cases::normals(93, 3 * 16), 16),
        ("outlying", cases::outlying(94, 300, 100), cases::outlying(95, 7, 100), 100),
        ("equal products", twins(cases::normals(96, 300 * 32), 32), cases::normals(97, 4 * 32), 32),
        ("fewer than asked", cases::normals(98, 7 * 64), cases::normals(99, 2 * 64), 64),
        ("no query", cases::normals(98, 7 * 64), Vec::new(), 64),
        ("trained", real.data.to_vec(), real.data[..8.min(real.rows()) * real.cols].to_vec(), real.cols),
    ];
    for (name, table, queries, width) in tables {
        let (table, queries) = (Rows::new(&table, width), Rows::new(&queries, width));
        let codes = Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, table.data, table.rows(), width);
        let problem = ItemSearch { queries, table, codes: &codes, candidates: 64, k: 10 };
        let case = format!("{name}, {} queries, {} items of {width}", queries.rows(), table.rows());
        let mut meter = Meter::new(Operation::ItemTopK, &case);
        let found = kernels.item_top_k(&problem);
        if let Some(found) = meter.result(found) {
            meter.expect(found.len() == queries.rows(), || format!("{} answers", found.len()));
            for (query, found) in found.iter().enumerate() {
                judge_items(&mut meter, kernels, &problem, query, found);
            }
        }
        outcomes.push(meter.outcome);
    }
    outcomes
}

/// What a scan may be off by: half a step of each element on either side, and the sum.
fn scan_error(query: &[f32], row: &[f32], codes: &Quantised, item: usize) -> f64 {
    let own = query.iter().fold(0.0_f64, |a, &q| a.max(f64::from(q).abs())) / 448.0;
    let half = |x: f64, scale: f64| bounds::code(x, scale.max(f64::from(f32::MIN_POSITIVE)), 0.0);
    let mut sum = 0.0;
    for (col, (&q, &t)) in query.iter().zip(row).enumerate() {
        let (q, t) = (f64::from(q), f64::from(t));
        let (dq, dt) = (half(q, own), half(t, f64::from(codes.scale_at(item, col))));
        sum += dq * t.abs() + q.abs() * dt + dq * dt + 2.0 * query.len() as f64 * bounds::U * (q * t).abs();
    }
    sum
}

fn judge_items<K: Kernels>(
    meter: &mut Meter,
    kernels: &K,
    problem: &ItemSearch<'_>,
    query: usize,
    found: &[(f64, u32)],
) {
    let (query, table) = (problem.queries.row(query), problem.table);
    let dot = |item: usize| {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (&q, &t) in query.iter().zip(table.row(item)) {
            sum += f64::from(q) * f64::from(t);
            magnitude += (f64::from(q) * f64::from(t)).abs();
        }
        (sum, bounds::dot(kernels.arithmetic(), query.len(), magnitude))
    };
    let wanted = problem.k.min(table.rows());
    meter.expect(found.len() == wanted, || format!("{} items, not {wanted}", found.len()));
    let mut seen = vec![false; table.rows()];
    for &(score, item) in found {
        if item as usize >= seen.len() || std::mem::replace(&mut seen[item as usize], true) {
            meter.fault(|| format!("item {item} is unknown or there twice"));
            continue;
        }
        let (exact, bound) = dot(item as usize);
        meter.see(score, exact, bound);
    }
    for pair in found.windows(2) {
        let ordered = pair[0].0 > pair[1].0 || pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1;
        meter.expect(ordered, || format!("{:?} before {:?}", pair[0], pair[1]));
    }
    let (Some(last), true) = (found.last(), found.len() == problem.k) else { return };
    let errors: Vec<f64> =
        (0..table.rows()).map(|item| scan_error(query, table.row(item), problem.codes, item)).collect();
    // A row left out lost its place in the scan to at least k rows, each of which may look better by its own error.
    let others = errors.iter().fold(0.0_f64, |a, &b| a.max(b));
    for item in (0..table.rows()).filter(|&item| !seen[item]) {
        let (exact, bound) = dot(item);
        let excess = exact - last.0;
        let allowed = errors[item] + others + 2.0 * bound;
        meter.expect(excess <= allowed, || format!("item {item} is missing, better by {excess:e} of {allowed:e}"));
    }
}
