//! The search on a device against the CPU's, over the same weights: trained ones, and drawn ones of every shape.
//!
//! Where there is no device, not even the emulated one of `make test-cuda`, tests that need one say so and pass.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::{
    self, Decode, Device as Wanted, LinearQuantization, Quantization, QuantizationFormat, WeightScales,
};
use recmesh_contract::{Mask, reason};
use recmesh_kernels::cuda::{Multiplier, Operands, Probe, probe};

use super::super::super::{ServesFrom, load_on};
use super::*;
use crate::ModelError;
use crate::Trainable;
use crate::planted::{catalog, examples, grid, query, train, walks};
use crate::quant::quantised;

/// The device, or nothing where there is none.
fn device() -> Option<Device> {
    match probe().unwrap() {
        Probe::Found(device) => Some(device),
        Probe::Absent(why) => {
            assert!(std::env::var_os("RECMESH_NEEDS_DEVICE").is_none(), "{why}");
            println!("skipped: {why}");
            None
        }
    }
}

fn config() -> config::LazyDecoder {
    let defaults: config::LazyDecoder = serde_json::from_str("{}").unwrap();
    config::LazyDecoder {
        d_model: 128,
        layers: 1,
        heads: 2,
        kv_groups: 1,
        kv_layers: 1,
        kv_split: 1,
        ffn: 1,
        context_length: 70,
        context_layers: 0,
        dropout: 0.0,
        decode: Decode { beams: 12, renormalise: true },
        ..defaults
    }
}

/// Three levels, 11 items, two of them under one ID; leaves do not come in the order of their items.
fn shop() -> Arc<Catalog> {
    let codes = (0..11_u32).map(|item| {
        let mixed = item.min(9) * 7 % 12;
        vec![mixed % 3, mixed / 3 % 2, mixed / 6]
    });
    catalog(&[3, 2, 2], &codes.collect::<Vec<_>>())
}

/// Weights drawn anew, so that no gain is one, no bias a line, and scores lie far apart.
fn drawn(config: &config::LazyDecoder, catalog: Arc<Catalog>) -> LazyDecoder {
    let mut model = LazyDecoder::new(config, catalog, 11).unwrap();
    let mut state = 1_u64;
    for tensor in model.params_mut().tensors_mut() {
        let spread = match tensor.name.as_str() {
            "head" => 0.15,
            "code" => 0.1,
            name if name.ends_with("gain") => 0.5,
            name if name.ends_with("bias") => 1.0,
            _ => 0.0,
        };
        for x in &mut tensor.data {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *x += spread * 2.0 * ((state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5);
        }
    }
    model
}

fn history(length: usize, items: usize) -> Vec<u32> {
    (0..length).map(|at| ((at * 13 + length) % items) as u32).collect()
}

/// The largest difference of a score from the CPU's of the same item; infinite where the items differ by more than the
/// bound explains. `all` is the CPU's answer with more items than were asked for.
fn difference(found: &[Candidate], all: &[Candidate], k: usize, bound: f32) -> f32 {
    if found.len() != all.len().min(k) {
        return f32::INFINITY;
    }
    let last = found.len().checked_sub(1).map_or(0.0, |last| all[last].score);
    let one = |candidate: &Candidate| {
        let same = all.iter().find(|it| it.item == candidate.item);
        same.filter(|it| it.score >= last - 2.0 * bound).map_or(f32::INFINITY, |it| (it.score - candidate.score).abs())
    };
    found.iter().map(one).fold(0.0, f32::max)
}

/// Both answer a query; how far they are apart.
fn apart(on: &mut DeviceServer, cpu: &mut Server, query: &Query<'_>) -> f32 {
    let found = on.recommend(std::slice::from_ref(query)).unwrap().remove(0);
    let whole = Query { k: cpu.model.config.decode.beams as usize, ..*query };
    let all = cpu.recommend(&[whole]).unwrap().remove(0);
    let mut items: Vec<u32> = found.iter().map(|it| it.item).collect();
    items.sort_unstable();
    items.dedup();
    assert_eq!(items.len(), found.len(), "an item twice");
    difference(&found, &all, query.k, bound(&on.cpu.model))
}

fn bound(model: &LazyDecoder) -> f32 {
    if model.device_shape().precision == Precision::E4m3 { QUANTISED_BOUND } else { BOUND }
}

/// Opens the model on the device and compares answers to histories whose lengths are at the edges of a block of keys, at
/// the longest context and beyond.
fn compared(device: &Device, model: &LazyDecoder, what: &str) {
    let (mut on, mut cpu) = (DeviceServer::open(model.clone(), device).unwrap(), model.server());
    compared_over(&mut on, &mut cpu, model, what);
    if model.device_shape().precision == Precision::E4m3 {
        // Whichever was the faster: our products cut their sums.
        let table = by_ours(&model.device_shape());
        let mut on = DeviceServer::with_products(model.clone(), device, table).unwrap();
        compared_over(&mut on, &mut cpu, model, &format!("{what}, by our products"));
    }
}

/// A table that gives every product of a search to our kernel.
fn by_ours(shape: &Shape) -> GemmTable {
    let (width, inner) = (shape.width, shape.inner);
    let mut table = GemmTable::default();
    for m in [1, shape.beams] {
        table.set(Operands::E4m3, [m, width, width], Multiplier::Ours);
        for [n, k] in [[width, width], [2 * inner, width], [width, inner]] {
            table.set(Operands::E4m3Single, [m, n, k], Multiplier::Ours);
        }
    }
    table
}

fn compared_over(on: &mut DeviceServer, cpu: &mut Server, model: &LazyDecoder, what: &str) {
    let lengths = [1, 64, 65, 90];
    let mut largest = 0.0_f32;
    for length in lengths {
        let history = history(length, model.catalog.len());
        largest = largest.max(apart(on, cpu, &query(&history, 5)));
    }
    println!("{what}: {largest:.5}");
    assert!(largest <= bound(model), "{what}: scores differ by {largest}");
    let done = on.device();
    assert_eq!((done.graphs, done.eager, done.declined, done.trouble), (lengths.len() as u64, 0, 0, None), "{what}");
    assert_eq!(on.illegal(), 0);
}

#[test]
fn drawn_decoders_of_every_shape_are_searched_as_on_the_cpu() {
    let Some(device) = device() else { return };
    let codebook = Decode { beams: 12, renormalise: false };
    let two_slices = config::LazyDecoder { layers: 2, kv_layers: 2, kv_groups: 2, kv_split: 2, ..config() };
    for (what, config) in [
        ("one slice, values are keys", config()),
        ("values apart, items", config::LazyDecoder { kv_split: 2, item_embedding: true, ..config() }),
        ("two slices, two groups, values apart", two_slices.clone()),
        ("three layers over two slices", config::LazyDecoder { layers: 3, kv_layers: 2, ..config() }),
        ("over the codebook, context blocks", config::LazyDecoder { decode: codebook, context_layers: 1, ..config() }),
        ("heads of 128", config::LazyDecoder { d_model: 256, kv_split: 2, ..config() }),
    ] {
        compared(&device, &drawn(&config, shop()), what);
    }
    let by_row = Quantization::default();
    let one_scale = LinearQuantization { weights: WeightScales::PerTensor, ..by_row.linear };
    let by_matrix = Quantization { linear: one_scale, ..by_row.clone() };
    for (what, how, config) in [
        ("E4M3, two slices, two groups, values apart", &by_row, two_slices),
        ("E4M3, heads of 128", &by_row, config::LazyDecoder { d_model: 256, ..config() }),
        ("E4M3, a scale a matrix", &by_matrix, config()),
    ] {
        compared(&device, &quantised(&drawn(&config, shop()), how), what);
    }
}

#[test]
fn a_trained_decoder_gives_the_same_best_items() {
    let Some(device) = device() else { return };
    let decode = Decode { beams: 6, renormalise: false };
    let config = config::LazyDecoder { context_length: 8, decode, ..config() };
    let walks = walks(16, 200, 7, 3);
    let mut model = LazyDecoder::new(&config, grid(4, 4), 5).unwrap();
    train(&mut model, &examples(&walks), 60, 32, 3e-3);
    for (what, model) in [("bf16", model.clone()), ("E4M3", quantised(&model, &Quantization::default()))] {
        let (mut on, mut cpu) = (DeviceServer::open(model.clone(), &device).unwrap(), model.server());
        let mut largest = 0.0_f32;
        for walk in &walks[..6] {
            let query = query(&walk[..6], 3);
            largest = largest.max(apart(&mut on, &mut cpu, &query));
            let top = |answers: Vec<Vec<Candidate>>| answers[0][0].item;
            assert_eq!(top(on.recommend(&[query]).unwrap()), top(cpu.recommend(&[query]).unwrap()), "{what}");
        }
        println!("trained, {what}: {largest:.5}");
        assert!(largest <= bound(&model), "{what}: {largest}");
    }
}

#[test]
fn restrictions_hold_query_after_query() {
    let Some(device) = device() else { return };
    let all = shop();
    let mask = |keep: fn(u32) -> bool| {
        let mut mask = Mask::none(all.len());
        (0..all.len() as u32).filter(|&item| keep(item)).for_each(|item| mask.insert(item));
        mask
    };
    let (odd, few) = (mask(|item| item % 2 == 1), mask(|item| item == 8 || item == 10));
    let nothing = mask(|_| false);
    for (what, catalog) in
        [("all live", Arc::clone(&all)), ("some live", Arc::new((*all).with_live(mask(|item| item % 3 != 0))))]
    {
        let model = drawn(&config(), catalog);
        let (mut on, mut cpu) = (DeviceServer::open(model.clone(), &device).unwrap(), model.server());
        let history = history(5, all.len());
        for (exclude, allowed) in [
            (&[][..], None),
            (&[1, 2, 3, 9][..], None),
            (&[][..], None),
            (&[1, 5, 99][..], Some(&odd)),
            (&[0, 4][..], None),
            (&[8][..], Some(&few)),
            (&[][..], Some(&nothing)),
            (&[][..], None),
        ] {
            let query = Query { exclude, allowed, ..query(&history, 12) };
            let apart = apart(&mut on, &mut cpu, &query);
            assert!(apart <= BOUND, "{what}, without {exclude:?}: {apart}");
            let found = on.recommend(&[query]).unwrap().remove(0);
            assert!(found.iter().all(|it| !exclude.contains(&it.item)), "{what}: an excluded item");
            assert!(found.iter().all(|it| allowed.is_none_or(|mask| mask.contains(it.item))), "{what}");
        }
        assert_eq!((on.device().eager, on.device().declined), (0, 0));
    }
}

#[test]
fn equal_scores_come_in_the_order_of_items() {
    let Some(device) = device() else { return };
    // Without heads every code is as likely as any other.
    let mut model = drawn(&config(), shop());
    let head = model.layout.head;
    model.params_mut().get_mut(head).data.fill(0.0);
    let (mut on, mut cpu) = (DeviceServer::open(model.clone(), &device).unwrap(), model.server());
    for exclude in [&[][..], &[0, 1, 9][..]] {
        let query = Query { exclude, ..query(&[3, 4], 12) };
        let items = |answers: Vec<Vec<Candidate>>| -> Vec<u32> { answers[0].iter().map(|it| it.item).collect() };
        let (found, wanted) = (items(on.recommend(&[query]).unwrap()), items(cpu.recommend(&[query]).unwrap()));
        assert_eq!(found, wanted);
        assert!(found.len() > 7);
    }
}

/// The comparison is sharp: over other weights than the CPU's, whichever, the device is found out.
#[test]
fn every_weight_that_the_search_reads_matters() {
    let Some(device) = device() else { return };
    let config = config::LazyDecoder { kv_split: 2, kv_groups: 2, context_length: 6, ..config() };
    let right = drawn(&config, shop());
    let mut cpu = right.server();
    let history = history(6, right.catalog.len());
    let query = query(&history, 11);
    let names: Vec<String> = right.params().tensors().iter().map(|tensor| tensor.name.clone()).collect();
    for (at, name) in names.iter().enumerate() {
        let mut wrong = right.clone();
        let id = ParamId(at);
        // As other weights would be: shifted by a place within their rows.
        let tensor = wrong.params_mut().get_mut(id);
        tensor.data.rotate_right(1);
        let apart = apart(&mut DeviceServer::open(wrong.clone(), &device).unwrap(), &mut cpu, &query);
        assert!(apart > BOUND, "{name} of another model goes unseen: {apart}");
    }
    let same = apart(&mut DeviceServer::open(right.clone(), &device).unwrap(), &mut cpu, &query);
    assert!(same <= BOUND, "{same}");
    let how = Quantization::default();
    let mut cpu = quantised(&right, &how).server();
    for name in ["layers.0.attention.output", "layers.0.cross.output", "layers.0.ffn.down"] {
        let at = names.iter().position(|it| it == name).unwrap();
        let mut wrong = right.clone();
        wrong.params_mut().get_mut(ParamId(at)).data.rotate_right(1);
        let mut on = DeviceServer::open(quantised(&wrong, &how), &device).unwrap();
        let apart = apart(&mut on, &mut cpu, &query);
        println!("{name} {apart}");
        assert!(apart > QUANTISED_BOUND, "codes of another {name} go unseen: {apart}");
    }
}

#[test]
fn what_the_kernels_cannot_do_the_cpu_does() {
    let Some(device) = device() else { return };
    let model = drawn(&config(), shop());
    let (mut on, mut cpu) = (DeviceServer::open(model.clone(), &device).unwrap(), model.server());
    let random = Query { ties: Ties::Random(3), ..query(&[1, 2], 5) };
    let queries = [query(&[1, 2], 13), random, query(&[], 5), query(&[999], 5), query(&[1], 0), query(&[1, 2], 11)];
    let found = on.recommend(&queries).unwrap();
    for (found, query) in found.iter().zip(&queries[..5]) {
        assert_eq!(*found, cpu.recommend(std::slice::from_ref(query)).unwrap()[0], "the CPU's own answer");
    }
    assert_eq!(found[5].len(), 11);
    assert_eq!((on.device().graphs, on.device().declined), (1, 2));
    assert!(on.device().trouble.unwrap().contains("raise decode.beams"));

    // Without a capture the same kernels are launched one by one, and counted.
    let mut eager = on.another();
    let mut running = on.running.take().unwrap();
    running.graphs = Graphs::default();
    eager.running = Some(running);
    assert_eq!(eager.recommend(&queries[5..]).unwrap()[0], found[5]);
    assert_eq!((eager.device().graphs, eager.device().eager), (0, 1));

    // A device that fails is asked no more: here by a context longer than it has room for.
    let history = history(80, model.catalog.len());
    eager.cpu.model.config.context_length = 80;
    let long = query(&history, 3);
    assert_eq!(eager.recommend(&[long]).unwrap(), eager.cpu.recommend(&[long]).unwrap());
    let done = eager.device();
    assert_eq!((done.eager, done.declined), (1, 1));
    assert!(done.trouble.unwrap().contains("the CPU answers from now on"));
    eager.recommend(&queries[5..]).unwrap();
    assert_eq!(eager.device().declined, 2);
}

#[test]
fn a_score_that_is_not_a_number_is_the_same_failure() {
    let Some(device) = device() else { return };
    let mut model = drawn(&config(), shop());
    let head = model.layout.head;
    model.params_mut().get_mut(head).data[5] = f32::NAN;
    let mut on = DeviceServer::open(model.clone(), &device).unwrap();
    assert_eq!(on.recommend(&[query(&[1, 2], 5)]).unwrap_err().reason, reason::NOT_A_NUMBER);
    assert_eq!(on.device().declined, 0, "no failure of the device");
}

#[test]
fn forks_share_weights_and_answer_alike_on_other_threads() {
    let Some(device) = device() else { return };
    let model = drawn(&config(), shop());
    let mut on = DeviceServer::open(model.clone(), &device).unwrap();
    let histories = [vec![1, 2, 3], vec![7]];
    let ask = |server: &mut dyn Recommend| server.recommend(&histories.each_ref().map(|it| query(it, 6))).unwrap();
    let wanted = ask(&mut on);
    let forks: Vec<_> = (0..2).map(|_| on.another()).collect();
    assert!(forks.iter().all(|fork| Arc::ptr_eq(&fork.shared, &on.shared)));
    std::thread::scope(|scope| {
        let asked: Vec<_> = forks.into_iter().map(|mut fork| scope.spawn(move || ask(&mut fork))).collect();
        for answers in asked {
            assert_eq!(answers.join().unwrap(), wanted);
        }
    });
    assert_eq!(ask(&mut on), wanted, "to the bit");
}

#[test]
fn shapes_without_kernels_are_named() {
    let told = |config: config::LazyDecoder| {
        drawn(&config, shop()).checked_shape().map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(told(config()), "");
    assert!(told(config::LazyDecoder { heads: 4, ..config() }).contains("4 heads of 32 columns"));
    let beams = Decode { beams: 2000, renormalise: false };
    assert!(told(config::LazyDecoder { decode: beams, ..config() }).contains("2000 beams"));
    let deep = catalog(&[2; 9], &[vec![0; 9], vec![1; 9]]);
    let told = drawn(&config(), deep).checked_shape().unwrap_err().to_string();
    assert!(told.contains("9 levels"), "{told}");
    let in_bytes = Quantization { format: QuantizationFormat::Int8, ..Quantization::default() };
    let told = quantised(&drawn(&config(), shop()), &in_bytes).checked_shape().unwrap_err().to_string();
    assert!(told.contains("int8") && told.contains("spec.quantization.format"), "{told}");
}

#[test]
fn a_folder_is_placed_where_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (narrow, there) = (config::LazyDecoder { heads: 4, ..config() }, device().is_some());
    let place = |config: &config::LazyDecoder, wanted| {
        let catalog = shop();
        drawn(config, Arc::clone(&catalog)).save(dir.path()).unwrap();
        load_on(dir.path(), Some(catalog), wanted)
    };
    assert_eq!(place(&config(), Wanted::Cpu).unwrap().from, ServesFrom::Cpu);
    let auto = place(&config(), Wanted::Auto).unwrap();
    assert_eq!(auto.from, if there { ServesFrom::Cuda } else { ServesFrom::Cpu }, "{}", auto.why);
    assert!(!auto.why.is_empty());
    assert_eq!(place(&config(), Wanted::Cuda).is_ok(), there);
    // A model without kernels: auto serves from the CPU and says why, cuda does not serve.
    let auto = place(&narrow, Wanted::Auto).unwrap();
    assert_eq!(auto.from, ServesFrom::Cpu);
    let Err(ModelError::Device(why)) = place(&narrow, Wanted::Cuda) else { panic!("it was placed") };
    if there {
        assert!(why.contains("4 heads of 32 columns") && auto.why == why, "{why}");
    }
}
