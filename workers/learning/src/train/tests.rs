//! The loop with a small associative memory: threads, resuming, stopping, refusals.

use std::convert::Infallible;
use std::fs;
use std::sync::Mutex;

use recmesh_contract::Silent;
use recmesh_contract::config::{AdamW, Muon, Optimizer as Declared};
use recmesh_kernels::{Init, ParamId, Role, Tape, Var};

use super::*;

mod precision;

const ITEMS: usize = 24;
const WIDTH: usize = 8;

/// Learns `item → item + 5` by sampled softmax, with dropout: every kind of noise and of tensor.
#[derive(Clone, Debug, PartialEq)]
struct Memory {
    params: Params,
    items: ParamId,
    map: ParamId,
    bias: ParamId,
}

#[derive(Clone, Copy)]
struct Pair {
    from: u32,
    weight: f64,
    /// Multiplies the loss of the micro-batch it is in.
    poison: f32,
}

impl Trainable for Memory {
    type Example = Pair;
    fn params(&self) -> &Params {
        &self.params
    }
    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }
    fn weight(&self, pair: &Pair) -> f64 {
        pair.weight
    }
    fn loss(&self, tape: &mut Tape<'_>, pairs: &[&Pair], noise: u64) -> Var {
        let ids = |shift: u32| pairs.iter().map(|pair| (pair.from + shift) % ITEMS as u32).collect::<Vec<_>>();
        let negatives: Vec<u32> = (0..6).map(|i| ((noise >> (8 * i)) % ITEMS as u64) as u32).collect();
        let x = tape.embed(self.items, &ids(0));
        let x = tape.dropout(x, 0.1);
        let x = tape.linear(x, self.map, Some(self.bias));
        let loss = tape.sampled_softmax_loss(x, self.items, &ids(5), &negatives, None);
        tape.scale(loss, pairs.iter().map(|pair| pair.poison).product())
    }
}

fn memory() -> Memory {
    let mut params = Params::default();
    let items = params.add("items", Role::Embedding, ITEMS, WIDTH, Init::Normal(0.5), 3);
    let map = params.add("map", Role::Matrix, WIDTH, WIDTH, Init::Normal(0.3), 3);
    let bias = params.add("bias", Role::Vector, 1, WIDTH, Init::Zeros, 3);
    Memory { params, items, map, bias }
}

/// 300 pairs: batches of 100 make three steps an epoch, each of four micro-batches.
fn pairs() -> Vec<Pair> {
    (0..300).map(|i| Pair { from: i % ITEMS as u32, weight: 1.0, poison: 1.0 }).collect()
}

fn params(optimizer: Declared, epochs: u32) -> TrainingParams {
    let mut params: TrainingParams = serde_json::from_str("{}").unwrap();
    params.optimizer = optimizer;
    params.epochs = epochs;
    params.batch_size = 100;
    params.schedule.warmup_steps = 4;
    params.schedule.decay = recmesh_contract::config::Decay::Cosine;
    params.checkpoint.every_steps = 2;
    params.early_stopping.patience = 0;
    params.seed = 11;
    params
}

fn adamw() -> Declared {
    Declared::AdamW(AdamW { lr: 0.03, weight_decay: 0.01, ..AdamW::default() })
}

fn muon() -> Declared {
    let muon: Muon = serde_json::from_str("{}").unwrap();
    Declared::Muon(Muon { adam: AdamW { lr: 0.03, ..AdamW::default() }, ..muon })
}

/// Share of items whose successor scores highest.
fn recall(model: &Memory) -> f64 {
    let mut workspace = recmesh_kernels::Workspace::default();
    let mut tape = Tape::serve(&model.params, &mut workspace);
    let x = tape.embed(model.items, &(0..ITEMS as u32).collect::<Vec<_>>());
    let x = tape.linear(x, model.map, Some(model.bias));
    let logits = tape.logits(x, model.items, 0..ITEMS);
    let logits = tape.value(logits);
    let right = |item: &usize| {
        let row = &logits[item * ITEMS..(item + 1) * ITEMS];
        let wanted = (item + 5) % ITEMS;
        (0..ITEMS).all(|other| other == wanted || row[other] < row[wanted])
    };
    (0..ITEMS).filter(right).count() as f64 / ITEMS as f64
}

fn silent(threads: usize) -> Run<'static> {
    Run { checkpoints: None, threads, reporter: &Silent, stop: None }
}

fn by_recall(model: &Memory) -> Result<f64, Infallible> {
    Ok(recall(model))
}

#[test]
fn both_optimizers_learn_the_planted_map() {
    for optimizer in [adamw(), muon()] {
        let mut model = memory();
        assert!(recall(&model) < 0.3);
        let outcome = train(&mut model, &pairs(), &params(optimizer, 60), silent(2), &mut by_recall).unwrap();
        assert!(outcome.best_metric > 0.9, "{outcome:?}");
        assert_eq!(recall(&model), outcome.best_metric, "the best epoch's weights are back");
        assert!(outcome.final_loss < 0.5 * outcome.history[0].loss, "{outcome:?}");
        assert_eq!((outcome.epochs, outcome.steps, outcome.history.len()), (60, 180, 60));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for optimizer in [adamw(), muon()] {
        let of = |threads| {
            let mut model = memory();
            let outcome = train(&mut model, &pairs(), &params(optimizer.clone(), 4), silent(threads), &mut by_recall);
            (model, outcome.unwrap())
        };
        let one = of(1);
        assert!((2..5).all(|threads| of(threads) == one));
    }
}

#[test]
fn the_seed_changes_the_run() {
    let of = |seed| {
        let mut model = memory();
        let params = TrainingParams { seed, ..params(adamw(), 2) };
        train(&mut model, &pairs(), &params, silent(1), &mut by_recall).unwrap();
        model
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

/// Raises the flag when a step is done.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Reporter for StopAt<'_> {
    fn progress(&self, progress: Progress) {
        if progress.done == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not() {
    for optimizer in [adamw(), muon()] {
        let params = params(optimizer, 5);
        let mut whole = memory();
        let wanted = train(&mut whole, &pairs(), &params, silent(1), &mut by_recall).unwrap();
        // Within an epoch, at its end, at a checkpoint and beside one; and twice in one run.
        for stops in [vec![1], vec![3], vec![4], vec![5, 9], vec![2, 3], vec![14], vec![15]] {
            let folder = tempfile::tempdir().unwrap();
            for at in stops {
                let stop = AtomicBool::new(false);
                let reporter = StopAt(at, &stop);
                let run = Run { checkpoints: Some(folder.path()), threads: 2, reporter: &reporter, stop: Some(&stop) };
                let ended = train(&mut memory(), &pairs(), &params, run, &mut by_recall);
                assert!(matches!(ended, Err(LearningError::Stopped { step, kept: true }) if step == at), "{ended:?}");
            }
            let mut model = memory();
            let run = Run { checkpoints: Some(folder.path()), ..silent(3) };
            assert_eq!(train(&mut model, &pairs(), &params, run, &mut by_recall).unwrap(), wanted);
            assert_eq!(model, whole);
        }
    }
}

#[test]
fn a_run_that_died_between_checkpoints_goes_on_as_if_it_had_not() {
    let params = params(muon(), 5);
    let mut whole = memory();
    let wanted = train(&mut whole, &pairs(), &params, silent(1), &mut by_recall).unwrap();
    for dies_in in 1..=5 {
        let folder = tempfile::tempdir().unwrap();
        let run = || Run { checkpoints: Some(folder.path()), ..silent(2) };
        let mut epoch = 0;
        let mut die = |model: &Memory| {
            epoch += 1;
            if epoch == dies_in { Err("the power went") } else { Ok(recall(model)) }
        };
        // Dies at steps 3, 6, …: after an even step's checkpoint, before the epoch is closed.
        let ended = train(&mut memory(), &pairs(), &params, run(), &mut die).unwrap_err().to_string();
        assert_eq!(ended, format!("the validation after epoch {dies_in} failed: the power went"));
        let mut model = memory();
        assert_eq!(train(&mut model, &pairs(), &params, run(), &mut by_recall).unwrap(), wanted);
        assert_eq!(model, whole);
    }
}

#[test]
fn patience_stops_and_the_best_epoch_stays() {
    let metrics = [0.1, 0.3, 0.2, 0.3, 0.25, 0.9];
    let run = |patience, every, epochs| {
        let mut params = params(adamw(), epochs);
        params.early_stopping.patience = patience;
        params.early_stopping.every = every;
        let mut seen: Vec<(f64, Memory)> = Vec::new();
        let mut model = memory();
        let mut next = |model: &Memory| {
            seen.push((metrics[seen.len()], model.clone()));
            Ok::<f64, Infallible>(seen[seen.len() - 1].0)
        };
        let outcome = train(&mut model, &pairs(), &params, silent(1), &mut next).unwrap();
        let best = seen.iter().find(|(metric, _)| *metric == outcome.best_metric).unwrap();
        assert_eq!(best.1, model);
        (outcome.best_epoch, outcome.best_metric, outcome.epochs, seen.len())
    };
    assert_eq!(run(2, 1, 6), (2, 0.3, 4, 4), "two epochs without a better one");
    assert_eq!(run(4, 1, 6), (6, 0.9, 6, 6));
    assert_eq!(run(0, 1, 6), (6, 0.9, 6, 6), "0 never stops");
    assert_eq!(run(3, 2, 11), (4, 0.3, 8, 4), "validated in 2, 4, 6 and 8; 7 is past patience, but only 8 tells");
    assert_eq!(run(0, 4, 6), (6, 0.3, 6, 2), "the last epoch is validated in any case");
}

#[test]
fn what_is_not_finite_is_an_error_that_says_where_and_what_to_do() {
    let mut poisoned = pairs();
    poisoned[120].poison = f32::NAN;
    let mut model = memory();
    let mut params = params(adamw(), 3);
    let mut never = |_: &Memory| -> Result<f64, Infallible> { Ok(0.0) };
    let error = train(&mut model, &poisoned, &params, silent(2), &mut never).unwrap_err().to_string();
    assert!(error.starts_with("the loss is not finite at step ") && error.contains("lower optimizer.lr"), "{error}");
    assert!(model.params.tensors().iter().all(|tensor| tensor.data.iter().all(|v| v.is_finite())));

    params.epochs = 1;
    for metric in [f64::NAN, f64::INFINITY] {
        let error = train(&mut memory(), &pairs(), &params, silent(1), &mut |_: &Memory| Ok::<_, Infallible>(metric));
        assert!(matches!(error, Err(LearningError::NoMetric { epoch: 1, .. })));
    }
}

#[test]
fn examples_without_targets_are_left_out_and_none_is_an_error() {
    let some: Vec<Pair> = pairs();
    let mut mixed = some.clone();
    mixed.extend(pairs().iter().map(|pair| Pair { weight: 0.0, poison: f32::NAN, ..*pair }));
    let of = |pairs: &[Pair]| {
        let mut model = memory();
        let outcome = train(&mut model, pairs, &params(adamw(), 2), silent(1), &mut by_recall);
        outcome.map(|outcome| (model, outcome))
    };
    assert_eq!(of(&some).unwrap(), of(&mixed).unwrap());
    for nothing in [&mixed[300..], &[]] {
        assert!(matches!(of(nothing), Err(LearningError::NoTargets { given }) if given == nothing.len()));
    }
}

/// Keeps what was told.
struct Told(Mutex<Vec<Progress>>);

impl Reporter for Told {
    fn progress(&self, progress: Progress) {
        if let Ok(mut told) = self.0.lock() {
            told.push(progress);
        }
    }
}

#[test]
fn progress_tells_steps_loss_and_metric() {
    let told = Told(Mutex::new(Vec::new()));
    let run = Run { reporter: &told, ..silent(1) };
    train(&mut memory(), &pairs(), &params(adamw(), 2), run, &mut |_: &Memory| Ok::<_, Infallible>(0.5)).unwrap();
    let told = told.0.into_inner().unwrap();
    assert_eq!(told.iter().map(|p| (p.done, p.total)).collect::<Vec<_>>(), (1..=6).map(|n| (n, 6)).collect::<Vec<_>>());
    assert!(told[1].note.starts_with("epoch 1, loss ") && !told[1].note.contains("validation"), "{}", told[1].note);
    assert!(told[2].note.ends_with(", validation 0.5000 (best 0.5000 in epoch 1)"), "{}", told[2].note);
    assert!(told[3].note.starts_with("epoch 2, loss "));
}

/// A folder with the checkpoint of step 4.
fn stopped_at_four(params: &TrainingParams) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let reporter = StopAt(4, &stop);
    let run = Run { checkpoints: Some(folder.path()), threads: 1, reporter: &reporter, stop: Some(&stop) };
    train(&mut memory(), &pairs(), params, run, &mut by_recall).unwrap_err();
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["checkpoint.json", "state-4.safetensors"], "earlier ones are removed");
    folder
}

#[test]
fn damaged_checkpoints_are_refused_by_name() {
    let params = params(adamw(), 5);
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage, &str); 6] = [
        ("state-4.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 1, "does not match its sha256"),
        ("state-4.safetensors", |bytes| bytes.truncate(100), "does not match its sha256"),
        ("state-4.safetensors", |bytes| bytes.clear(), "does not match its sha256"),
        ("checkpoint.json", |bytes| bytes.truncate(50), "EOF"),
        ("checkpoint.json", |bytes| bytes.fill(b' '), "EOF"),
        (
            "checkpoint.json",
            |bytes| *bytes = String::from_utf8_lossy(bytes).replace("\"step\": 4", "\"step\": 5").into_bytes(),
            "does not match its sha256",
        ),
    ];
    for (name, damage, reason) in damages {
        let folder = stopped_at_four(&params);
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let run = Run { checkpoints: Some(folder.path()), ..silent(1) };
        let mut model = memory();
        let error = train(&mut model, &pairs(), &params, run, &mut by_recall).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is damaged") && error.contains(reason), "{error}");
        assert_eq!(model, memory(), "nothing was started over");
    }
    let folder = stopped_at_four(&params);
    fs::remove_file(folder.path().join("state-4.safetensors")).unwrap();
    let run = Run { checkpoints: Some(folder.path()), ..silent(1) };
    let error = train(&mut memory(), &pairs(), &params, run, &mut by_recall).unwrap_err().to_string();
    assert!(error.contains("state-4.safetensors") && error.contains("it is gone"), "{error}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let params = params(adamw(), 5);
    let folder = stopped_at_four(&params);
    let refused = |params: &TrainingParams, pairs: &[Pair]| {
        let run = Run { checkpoints: Some(folder.path()), ..silent(1) };
        matches!(train(&mut memory(), pairs, params, run, &mut by_recall), Err(LearningError::Foreign { .. }))
    };
    assert!(refused(&TrainingParams { seed: 12, ..params.clone() }, &pairs()));
    assert!(refused(&TrainingParams { optimizer: muon(), ..params.clone() }, &pairs()));
    assert!(refused(&params, &pairs()[1..]));
    let mut oftener = params;
    oftener.checkpoint.every_steps = 1;
    assert!(!refused(&oftener, &pairs()), "how often checkpoints are written is no part of the result");
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_named_and_leaves_the_last_one_whole() {
    let params = params(adamw(), 5);
    let mut whole = memory();
    let wanted = train(&mut whole, &pairs(), &params, silent(1), &mut by_recall).unwrap();
    let folder = stopped_at_four(&params);
    let in_the_way = folder.path().join("state-6.safetensors");
    fs::create_dir(&in_the_way).unwrap();
    let run = || Run { checkpoints: Some(folder.path()), ..silent(1) };
    let error = train(&mut memory(), &pairs(), &params, run(), &mut by_recall).unwrap_err();
    assert!(matches!(&error, LearningError::Write { path, .. } if *path == in_the_way), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing half written takes up room");
    fs::remove_dir(in_the_way).unwrap();
    let mut model = memory();
    assert_eq!(train(&mut model, &pairs(), &params, run(), &mut by_recall).unwrap(), wanted);
    assert_eq!(model, whole);
}

#[test]
fn what_a_kill_in_the_middle_of_writing_leaves_is_harmless() {
    let params = params(adamw(), 5);
    let mut whole = memory();
    let wanted = train(&mut whole, &pairs(), &params, silent(1), &mut by_recall).unwrap();
    let folder = stopped_at_four(&params);
    // The next tensors were written, wholly or partly, and the manifest was not yet replaced.
    for name in ["state-6.safetensors", "state-8.safetensors.partial", "checkpoint.json.partial"] {
        fs::write(folder.path().join(name), b"half of a").unwrap();
    }
    let run = Run { checkpoints: Some(folder.path()), ..silent(1) };
    let mut model = memory();
    assert_eq!(train(&mut model, &pairs(), &params, run, &mut by_recall).unwrap(), wanted);
    assert_eq!(model, whole);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "and is cleared away");
}

#[test]
fn no_checkpoints_are_written_when_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = params(adamw(), 2);
    params.checkpoint.every_steps = 0;
    let run = Run { checkpoints: Some(folder.path()), ..silent(1) };
    train(&mut memory(), &pairs(), &params, run, &mut by_recall).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
