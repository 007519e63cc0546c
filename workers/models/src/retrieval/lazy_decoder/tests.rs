//! The lazy decoder against naive twins: attention, incremental decoding, one pass over all positions.

use std::sync::Arc;

use proptest::prelude::*;
use recmesh_catalog::Catalog;
use recmesh_contract::config::{self, Decode};
use recmesh_contract::{Candidate, Mask, Query, Recommend, Threads, Ties};
use recmesh_kernels::{Span, Tape, Workspace, int8};

use super::super::{Popularity, SequenceExample, item_vectors, load};
use super::LazyDecoder;
use super::context::{Context, Tokens};
use super::layout::slice_of;
use super::model::Targets;
use crate::Trainable;
use crate::planted::{catalog, examples, grid, query, recall, shuffled, train, walks};

fn config() -> config::LazyDecoder {
    let defaults: config::LazyDecoder = serde_json::from_str("{}").unwrap();
    config::LazyDecoder {
        d_model: 16,
        layers: 2,
        heads: 4,
        kv_groups: 2,
        kv_layers: 2,
        kv_split: 2,
        ffn: 2,
        context_length: 5,
        context_layers: 1,
        dropout: 0.0,
        decode: Decode { beams: 64, renormalise: false },
        ..defaults
    }
}

/// A model whose every weight is drawn anew and large, so that nothing is near zero or near one by chance.
fn stirred(config: &config::LazyDecoder, catalog: Arc<Catalog>) -> LazyDecoder {
    let mut model = LazyDecoder::new(config, catalog, 11).unwrap();
    let mut state = 1u64;
    for tensor in model.params_mut().tensors_mut() {
        for x in &mut tensor.data {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *x += (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
    }
    model
}

#[test]
fn layers_read_slices_in_even_runs() {
    let slices: Vec<usize> = (0..18).map(|layer| slice_of(layer, 3, 18)).collect();
    assert_eq!(slices, [[0; 6], [1; 6], [2; 6]].concat());
    let slices: Vec<usize> = (0..5).map(|layer| slice_of(layer, 2, 5)).collect();
    assert_eq!(slices, [0, 0, 0, 1, 1]);
}

#[test]
fn cross_attention_is_plain_attention_over_the_slices() {
    for (split, groups) in [(1, 1), (1, 2), (2, 4)] {
        let model = stirred(&config::LazyDecoder { kv_split: split, kv_groups: groups, ..config() }, grid(4, 4));
        let mut tokens = Tokens::default();
        let spans = [
            model.push_history(&mut tokens, &[1, 5, 9]),
            model.push_history(&mut tokens, &[2, 2]),
            Span { start: 0, end: 2 },
        ];
        let positions = [2, 1, 1];
        let x: Vec<f32> = (0..48).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut workspace = Workspace::default();
        let mut tape = Tape::serve(model.params(), &mut workspace);
        let mut context = Context::default();
        model.context(&mut tape, &tokens, &mut context);
        for layer in &model.layout.layers {
            let [key, value] = context.slices[layer.slice];
            let rows = tape.constant(3, 16, &x);
            let to = (&positions[..], &tokens.positions[..]);
            let out = model.shape.cross(&mut tape, &layer.cross, rows, (key, value), &spans, to);
            let (key, value, out) = (tape.value(key), tape.value(value), tape.value(out));
            let weight = |id| model.params().get(id);
            for row in 0..3 {
                let x = &x[row * 16..][..16];
                let scale = (x.iter().map(|x| f64::from(x * x)).sum::<f64>() / 16.0 + 1e-6).sqrt();
                let gain = &weight(layer.cross.norm).data;
                let normed: Vec<f64> = x.iter().zip(gain).map(|(&x, &g)| f64::from(x) / scale * f64::from(g)).collect();
                let apply = |id, x: &[f64]| -> Vec<f64> {
                    let rows = weight(id).data.chunks(16);
                    rows.map(|w| w.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()).collect()
                };
                let query = apply(layer.cross.query, &normed);
                let mut joined = Vec::new();
                for head in 0..4 {
                    let group = head * groups as usize / 4;
                    let part =
                        |x: &[f32], token: u32| x[(token as usize * groups as usize + group) * 4..][..4].to_vec();
                    let score = |token: u32| {
                        let dot: f64 =
                            part(key, token).iter().zip(&query[head * 4..]).map(|(&k, q)| f64::from(k) * q).sum();
                        let distance = (positions[row] - tokens.positions[token as usize]) as usize;
                        dot / 2.0 + f64::from(weight(layer.cross.bias).data[head * 5 + distance])
                    };
                    let span = spans[row].start..spans[row].end;
                    let total: f64 = span.clone().map(|token| score(token).exp()).sum();
                    for column in 0..4 {
                        let mean = |token| score(token).exp() / total * f64::from(part(value, token)[column]);
                        joined.push(span.clone().map(mean).sum::<f64>());
                    }
                }
                let change = apply(layer.cross.output, &joined);
                for column in 0..16 {
                    let wanted = f64::from(x[column]) + change[column];
                    let got = f64::from(out[row * 16 + column]);
                    assert!(
                        (got - wanted).abs() < 1e-5 * wanted.abs().max(1.0),
                        "row {row} column {column}: {got} {wanted}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_context_is_computed_once_per_request_whatever_the_beams() {
    let catalog = grid(4, 4);
    let slices = |beams: u32| {
        let config = config::LazyDecoder { decode: Decode { beams, renormalise: false }, ..config() };
        let mut server = stirred(&config, Arc::clone(&catalog)).server();
        let answers = server.recommend(&[query(&[1, 2], 1), query(&[], 1), query(&[3], 1), query(&[4], 1)]).unwrap();
        assert_eq!(server.counters().contexts, 3, "one context per query with a history");
        server.recommend(&[query(&[1, 2], 1)]).unwrap();
        assert_eq!((server.counters().contexts, server.illegal()), (4, 0));
        (server.seen(), answers)
    };
    let (one, _) = slices(1);
    let (many, _) = slices(16);
    assert!(!one.is_empty());
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&one), bits(&many));
}

/// The score of every item by a full pass over its own ID, and renormalised over existing children when asked.
fn recomputed(model: &LazyDecoder, history: &[u32], renormalise: bool) -> Vec<f64> {
    let mut tokens = Tokens::default();
    let span = model.push_history(&mut tokens, history);
    let mut targets = Targets::default();
    let items = model.catalog.len() as u32;
    (0..items).for_each(|item| model.push_target(&mut targets, item, span));
    let mut workspace = Workspace::default();
    let mut tape = Tape::serve(model.params(), &mut workspace);
    let mut context = Context::default();
    model.context(&mut tape, &tokens, &mut context);
    let x = model.teach(&mut tape, &context, &tokens, &targets);
    let levels = model.levels();
    let mut scores = vec![0.0; items as usize];
    for level in 0..levels {
        let rows: Vec<u32> = (0..items).map(|item| item * levels as u32 + level as u32).collect();
        let x = tape.gather(x, &rows);
        let x = tape.rms_norm(x, model.layout.head_norms[level]);
        let codes = model.layout.codes(level);
        let logits = tape.logits(x, model.layout.head, codes.clone());
        for (item, logits) in (0..items).zip(tape.value(logits).chunks(codes.len())) {
            let own = model.catalog.codes(item);
            let exists = |code: u32| {
                let mut others = (0..items).map(|other| model.catalog.codes(other));
                others.any(|other| other[..level] == own[..level] && other[level] == code)
            };
            let counted = (0u32..).zip(logits).filter(|&(code, _)| !renormalise || exists(code));
            let total: f64 = counted.map(|(_, &x)| f64::from(x).exp()).sum();
            scores[item as usize] += f64::from(logits[own[level] as usize]) - total.ln();
        }
    }
    scores
}

#[test]
fn a_loss_over_children_is_the_score_among_legal_ids() {
    let catalog = catalog(&[3, 4, 2], &[vec![0, 0, 0], vec![0, 0, 1], vec![0, 3, 0], vec![2, 1, 1], vec![2, 1, 0]]);
    let decode = Decode { beams: 64, renormalise: true };
    let config = config::LazyDecoder { loss: config::CodeLoss::Children, decode, ..config() };
    let model = stirred(&config, catalog);
    let mut workspace = Workspace::default();
    for target in 0..5 {
        let example = SequenceExample { items: vec![4, 1, target] };
        let shorter = SequenceExample { items: vec![4, 1] };
        let mut loss = |example: &SequenceExample| {
            let mut tape = Tape::train(model.params(), &mut workspace, 0);
            let loss = model.loss(&mut tape, &[example], 0);
            f64::from(tape.value(loss)[0])
        };
        let own = (loss(&example) - loss(&shorter)) * model.levels() as f64;
        let wanted = -recomputed(&model, &[4, 1], true)[target as usize];
        assert!((own - wanted).abs() < 1e-3, "item {target}: {own} {wanted}");
    }
    let scores = recomputed(&model, &[4, 1], true);
    let all: f64 = scores.iter().map(|score| score.exp()).sum();
    assert!((all - 1.0).abs() < 1e-4, "legal IDs share all probability: {all}");
    let refused = config::LazyDecoder { decode: Decode { beams: 64, renormalise: false }, ..config };
    let error = LazyDecoder::new(&refused, grid(2, 2), 0).err().unwrap().to_string();
    assert!(error.contains("decode.renormalise"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn incremental_decoding_with_a_wide_beam_is_an_exhaustive_full_recompute(
        codes in prop::collection::vec([0u32..3, 0u32..4, 0u32..2], 1..12),
        history in prop::collection::vec(0u32..12, 1..8),
        flags in prop::collection::vec(any::<(bool, bool)>(), 12),
        renormalise: bool,
        filtered: bool,
        kv_split in 1u32..3,
        context_layers in 0u32..2,
        item_embedding: bool,
    ) {
        let codes: Vec<Vec<u32>> = codes.into_iter().map(Vec::from).collect();
        let items = codes.len() as u32;
        let decode = Decode { beams: 64, renormalise };
        let config = config::LazyDecoder { kv_split, context_layers, item_embedding, decode, ..config() };
        let model = stirred(&config, catalog(&[3, 4, 2], &codes));
        let history: Vec<u32> = history.into_iter().map(|item| item % items).collect();
        let exclude: Vec<u32> = (0..items).filter(|&item| filtered && flags[item as usize].0).collect();
        let mut allowed = Mask::none(items as usize);
        (0..items).filter(|&item| flags[item as usize].1).for_each(|item| allowed.insert(item));
        let allowed = filtered.then_some(&allowed);
        let query = Query { history: &history, exclude: &exclude, allowed, k: 12, ties: Ties::ByIndex };
        let other = crate::planted::query(&history[..1], 3);

        let newest = &history[history.len().saturating_sub(5)..];
        let scores = recomputed(&model, newest, renormalise);
        let legal = |item: u32| !exclude.contains(&item) && allowed.is_none_or(|mask| mask.contains(item));
        let mut wanted: Vec<f64> = (0..items).filter(|&item| legal(item)).map(|item| scores[item as usize]).collect();
        wanted.sort_by(|a, b| b.total_cmp(a));

        let mut server = model.server();
        let answer = server.recommend(&[other, query, other]).unwrap().remove(1);
        prop_assert_eq!(server.illegal(), 0);
        prop_assert_eq!(answer.len(), wanted.len());
        for (Candidate { item, score, .. }, wanted) in answer.iter().zip(wanted) {
            prop_assert!(legal(*item));
            prop_assert!((f64::from(*score) - scores[*item as usize]).abs() < 1e-3);
            prop_assert!((f64::from(*score) - wanted).abs() < 1e-3);
        }
    }
}

#[test]
fn one_pass_over_all_positions_is_a_pass_for_every_prefix() {
    let model =
        stirred(&config(), catalog(&[3, 4, 2], &(0..12).map(|i| vec![i % 3, i / 3, i % 2]).collect::<Vec<_>>()));
    let sequences = [vec![1, 4, 2, 8, 5], vec![7, 7], vec![3], (0..12).collect()];
    let examples: Vec<SequenceExample> = sequences.map(|items| SequenceExample { items }).into();
    let mut workspace = Workspace::default();
    let mut loss = |examples: &[&SequenceExample]| {
        let mut tape = Tape::train(model.params(), &mut workspace, 0);
        let loss = model.loss(&mut tape, examples, 0);
        f64::from(tape.value(loss)[0])
    };
    let together = loss(&examples.iter().collect::<Vec<_>>());
    let mut apart = 0.0;
    for example in &examples {
        // The loss of a prefix less that of the prefix before it is the last target's; both read the same window.
        let window = example.window(5);
        for end in 1..window.len() {
            let scores = recomputed(&model, &window[..end], false);
            apart -= scores[window[end] as usize] / model.levels() as f64;
        }
    }
    let weight: f64 = examples.iter().map(|example| model.weight(example)).sum();
    assert_eq!(weight, 4.0 + 1.0 + 0.0 + 5.0);
    assert!((together - apart).abs() < 1e-4 * apart, "{together} {apart}");
    assert_eq!(loss(&[&examples[2]]), 0.0);
}

#[test]
fn a_batch_answers_like_single_queries_and_forks_share_weights() {
    let model = stirred(&config(), grid(5, 6));
    let histories: Vec<Vec<u32>> =
        (1..8u32).map(|user| (0..user).map(|at| (at * 13 + user * 5) % 30).collect()).collect();
    let queries: Vec<_> = histories.iter().map(|history| query(history, 10)).collect();
    let mut server = model.recommender();
    let batch = server.recommend(&queries).unwrap();
    for (query, answer) in queries.iter().zip(&batch) {
        let single = server.fork().recommend(&[*query]).unwrap().remove(0);
        assert_eq!(answer.len(), 10);
        assert_eq!(answer, &single, "to the bit: no row depends on the rows beside it");
    }
    assert!(Arc::strong_count(&model.params) >= 2);
}

#[test]
fn a_saved_model_answers_the_same_with_its_own_catalog_only() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = grid(4, 4);
    let model = stirred(&config(), Arc::clone(&catalog));
    model.save(dir.path()).unwrap();
    let mut loaded = load(dir.path(), Some(catalog)).unwrap();
    let questions = [query(&[1, 2, 3], 10), query(&[7], 10)];
    assert_eq!(model.recommender().recommend(&questions).unwrap(), loaded.recommend(&questions).unwrap());
    let (rows, cols, _) = item_vectors(dir.path()).unwrap();
    assert_eq!((rows, cols), (16, 16));

    let error = load(dir.path(), None).err().unwrap().to_string();
    assert!(error.contains("catalog"), "{error}");
    let codes: Vec<Vec<u32>> = (0..16).map(|item| vec![item % 4, item / 4]).collect();
    let error = load(dir.path(), Some(self::catalog(&[4, 4], &codes))).err().unwrap().to_string();
    assert!(error.contains("semantic IDs"), "{error}");
    let file = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 8]).unwrap();
    let error = load(dir.path(), Some(grid(4, 4))).err().unwrap().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}

#[test]
fn only_live_items_are_answered() {
    let catalog = grid(4, 4);
    let mut live = Mask::none(16);
    [3, 9, 10].into_iter().for_each(|item| live.insert(item));
    let model = stirred(
        &config::LazyDecoder { decode: Decode { beams: 1, renormalise: false }, ..config() },
        Arc::new(catalog.with_live(live)),
    );
    let answer = model.recommender().recommend(&[query(&[1, 2], 16)]).unwrap().remove(0);
    let mut items: Vec<u32> = answer.iter().map(|c| c.item).collect();
    items.sort_unstable();
    assert_eq!(items, [3, 9, 10]);
}

#[test]
fn a_catalog_of_one_item_and_wrong_sizes() {
    let one = catalog(&[1], &[vec![0]]);
    let answer = stirred(&config(), Arc::clone(&one)).recommender().recommend(&[query(&[0, 0], 4)]).unwrap();
    assert_eq!(answer[0].iter().map(|c| (c.item, c.score)).collect::<Vec<_>>(), [(0, 0.0)]);
    for (field, config) in [
        ("heads", config::LazyDecoder { heads: 3, ..config() }),
        ("kvGroups", config::LazyDecoder { kv_groups: 3, ..config() }),
        ("kvLayers", config::LazyDecoder { kv_layers: 3, ..config() }),
    ] {
        let error = LazyDecoder::new(&config, Arc::clone(&one), 0).err().unwrap().to_string();
        assert!(error.starts_with(field), "{error}");
    }
}

#[test]
fn a_planted_rule_is_learned_and_no_rule_is_not() {
    let walks = walks(40, 300, 7, 1);
    let broken = shuffled(&walks, 2);
    let gain = |walks: &[Vec<u32>]| {
        let config = config::LazyDecoder { layers: 1, kv_layers: 1, dropout: 0.1, ..config() };
        let mut model = LazyDecoder::new(&config, grid(5, 8), 5).unwrap();
        train(&mut model, &examples(walks), 120, 100, 0.01);
        let train: Vec<&[u32]> = walks.iter().map(|walk| &walk[..walk.len() - 1]).collect();
        let mut popular = Popularity::count(&train, 40).recommender(None);
        (recall(&mut *model.recommender(), walks, 3), recall(&mut *popular, walks, 3))
    };
    let (lazy, popular) = gain(&walks);
    assert!(lazy > 0.6 && popular < 0.25, "planted: {lazy} against {popular}");
    let (lazy, _) = gain(&broken);
    assert!(lazy < 0.25, "shuffled: {lazy}");
}

#[test]
fn answers_are_the_same_on_any_number_of_threads() {
    let config = config::LazyDecoder { d_model: 64, context_length: 30, ..config() };
    let mut server = stirred(&config, grid(8, 8)).server();
    let histories: Vec<Vec<u32>> =
        (0..5).map(|user| (0..7 * user + 1).map(|at| (at * 5 + user) % 64).collect()).collect();
    let all: Vec<Query<'_>> = histories.iter().map(|history| query(history, 10)).collect();
    for queries in [&all[..], &all[4..]] {
        let wanted = server.recommend(queries).unwrap();
        for count in 1..5 {
            let mut shared = server.another();
            assert_eq!(shared.set_threads(&Threads { count, cores: Vec::new() }), count);
            for _ in 0..2 {
                assert_eq!(shared.recommend(queries).unwrap(), wanted, "{count} threads");
            }
        }
    }
}

/// What manifests are held against is what the kernels take.
#[test]
fn layers_in_signed_bytes_have_as_many_inputs_as_may_be_declared() {
    let most = config::QuantizationFormat::Int8.most_inputs().unwrap() as usize;
    let of = |cols| int8::Weights::from_parts(int8::Scaling::Tensor, (1, cols), vec![1; cols], vec![1.0]);
    assert!(of(most).is_some() && of(most + 1).is_none());
}
