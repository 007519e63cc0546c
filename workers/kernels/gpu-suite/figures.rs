//! Figures of the device: products, whole beam searches, the trie's step, and peers where Python has them.
//!
//! In: an engine. Out: JSON; on the emulated driver only whether all of it would be there. Times are the device's own, means over repeated launches after one that is not counted; weights
//! rotate so that no product finds its own in the cache.

use std::sync::Arc;

use recmesh_kernels::cuda::{
    Blas, CudaError, Decoder, DecoderWeights, Engine, Graphs, Operands, Packed, Precision, Request,
};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::{Level, twins::cases};
use serde_json::{Value, json};

use crate::checks::Checked;
use crate::decoders::{Drawn, ONE, Sizes, TWO};

/// Its name in reports and JSON.
pub const OPERATION: &str = "figures";

/// Repeats of a product and of a search.
const REPEATS: u32 = 50;
const SEARCHES: u32 = 20;
/// Weights that a product rotates through fill at least this many bytes: more than the cache.
const ROTATED: usize = 128 << 20;

/// A figure, or why there is none.
fn measured(name: &str, found: Result<Value, CudaError>) -> Value {
    match found {
        Ok(value) => {
            println!("{name}: {value}");
            value
        }
        Err(error) => {
            println!("{name}: not measured, {error}");
            json!({"name": name, "notMeasured": error.to_string()})
        }
    }
}

/// Measures everything that can be.
pub fn run(engine: &Engine) -> Value {
    let blas = match Blas::open(engine) {
        Ok(blas) => blas,
        Err(error) => {
            println!("cuBLASLt does not start: {error}");
            None
        }
    };
    let mut products = Vec::new();
    let peak = (8192, 8192, 8192);
    let mut shapes = vec![("peak".to_owned(), peak)];
    for (name, Sizes { width, inner, codes, beams, .. }) in [ONE, TWO] {
        shapes.push((format!("{name} attention"), (beams, width, width)));
        shapes.push((format!("{name} up"), (beams, 2 * inner, width)));
        shapes.push((format!("{name} down"), (beams, width, inner)));
        shapes.push((format!("{name} head"), (beams, codes, width)));
    }
    for (name, shape) in shapes {
        products.push(measured(&name, product(engine, blas.as_ref(), &name, shape)));
    }
    let rates = ["cublasltFp8", "oursFp8"].map(|which| products[0][which]["tflops"].as_f64());
    let peak = rates.into_iter().flatten().reduce(f64::max);
    let mut searches = Vec::new();
    for (name, shape) in [ONE, TWO] {
        let found = match &blas {
            Some(blas) => search(engine, blas, name, shape, peak),
            None => Err(CudaError::new(format!("beam search of {name}"), "it needs cuBLASLt, which is not here")),
        };
        searches.push(measured(name, found));
    }
    let peers = crate::peers::run();
    for search in &mut searches {
        search["ratio"] = ratio(search, &peers);
    }
    json!({"products": products, "searches": searches, "peers": peers})
}

/// How many times as long as our search in E4M3 PyTorch takes for a whole request of the same decoder, in bf16.
fn ratio(search: &Value, peers: &Value) -> Value {
    let theirs = peers["requests"].as_array().and_then(|all| all.iter().find(|row| row["name"] == search["name"]));
    let of = |name: &str| {
        let (theirs, ours) = (theirs?[name].as_f64()?, search["graphMs"].as_f64()?);
        Some(theirs / ours)
    };
    match (of("eagerMs"), of("compiledMs")) {
        (None, None) => json!({"notMeasured": "one of the two sides has no time"}),
        (eager, compiled) => json!({"eager": eager, "compiled": compiled}),
    }
}

/// Goes the way of every figure on the emulated driver, over small sizes: no time, but that each is there to be measured.
pub fn rehearse(engine: &Engine, checked: &mut Checked) {
    let small = Sizes { width: 128, layers: 2, inner: 144, codes: 64, levels: 3, context: 40, beams: 12 };
    let went = Blas::open(engine).and_then(|blas| {
        let blas = blas.ok_or_else(|| CudaError::new(OPERATION, "it needs cuBLASLt, which is not here"))?;
        let product = product(engine, Some(&blas), "small", (32, 48, 64))?;
        Ok((product, search(engine, &blas, "small", small, Some(1.0))?))
    });
    let lacking = |(product, search): &(Value, Value)| {
        let times = [&product["oursFp8"]["ms"], &product["cublasltFp8"]["ms"], &product["cublasltBf16"]["ms"]];
        let more = [&search["graphMs"], &search["bf16"]["graphMs"], &search["bf16OverFp8"], &search["trieStepMs"]];
        let whole = search["found"] == 12 && search["bf16"]["found"] == 12;
        let there = times.into_iter().chain(more).all(|time| !time.is_null());
        (!whole || !there).then(|| format!("{product} {search}"))
    };
    let broken = went.map_or_else(|error| Some(error.to_string()), |found| lacking(&found));
    checked.note(OPERATION, "rehearsed over small sizes", broken);
}

/// How often a figure is repeated; once where its time says nothing.
fn repeats(engine: &Engine, usual: u32) -> u32 {
    if engine.device().is_emulated() { 1 } else { usual }
}

/// One shape by our kernel and by the library, FP8 and bf16.
fn product(
    engine: &Engine,
    blas: Option<&Blas>,
    name: &str,
    (m, n, k): (usize, usize, usize),
) -> Result<Value, CudaError> {
    let copies = ROTATED.div_ceil(n * k).clamp(1, 64).min(repeats(engine, 64) as usize);
    let times = repeats(engine, REPEATS);
    let numbers = cases::normals(1, (m * k).max(n * k).min(1 << 22));
    let fill = |count: usize| -> Vec<f32> { numbers.iter().copied().cycle().take(count).collect() };
    let quantised = |rows: usize| -> Result<Packed, CudaError> {
        let made = Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, &fill(rows * k), rows, k);
        Packed::new(engine, &[&made], k)
    };
    let a = quantised(m)?;
    let b = (0..copies).map(|_| quantised(n)).collect::<Result<Vec<_>, _>>()?;
    let mut out = engine.zeros::<u16>(m * n)?;
    let figure = |ms: f64| json!({"ms": ms, "tflops": 2.0 * (m * n * k) as f64 / ms / 1e9});
    let mut at = 0;
    let ours = engine.time(times, || {
        at += 1;
        a.times(engine, &b[at % copies], &mut out)
    })?;
    let mut report = json!({"name": name, "m": m, "n": n, "k": k, "oursFp8": figure(ours)});
    let Some(blas) = blas else {
        report["cublaslt"] = json!("not here");
        return Ok(report);
    };
    let theirs = blas.plan(Operands::E4m3, m, n, k).and_then(|plan| {
        engine.time(times, || {
            at += 1;
            blas.e4m3(engine, &plan, (&a, &b[at % copies]), &mut out, false)
        })
    });
    report["cublasltFp8"] =
        theirs.as_ref().map_or_else(|error| json!({"notMeasured": error.to_string()}), |ms| figure(*ms));
    report["chosen"] = json!(match theirs {
        Ok(theirs) if theirs < ours => "cublaslt",
        _ => "ours",
    });
    drop(b);
    let wide = |count: usize| -> Vec<u16> { fill(count).iter().map(|x| (x.to_bits() >> 16) as u16).collect() };
    let a = engine.upload(&wide(m * k))?;
    let b = (0..copies).map(|_| engine.upload(&wide(n * k))).collect::<Result<Vec<_>, _>>()?;
    let plan = blas.plan(Operands::Bf16, m, n, k)?;
    let bf16 = engine.time(times, || {
        at += 1;
        blas.bf16(engine, &plan, (&a, &b[at % copies]), &mut out, false)
    })?;
    report["cublasltBf16"] = figure(bf16);
    Ok(report)
}

/// One decoder's whole search in both precisions, the same weights and the same steps.
fn search(engine: &Engine, blas: &Blas, name: &str, sizes: Sizes, peak: Option<f64>) -> Result<Value, CudaError> {
    let mut report = searched(engine, blas, sizes, Precision::E4m3)?;
    report["name"] = json!(name);
    report["measuredFp8Peak"] = json!(peak);
    report["mfu"] = json!(report["tflops"].as_f64().zip(peak).map(|(tflops, peak)| tflops / peak));
    let wide = searched(engine, blas, sizes, Precision::Bf16);
    let times = |report: &Value| report["graphMs"].as_f64();
    report["bf16"] = wide.unwrap_or_else(|error| json!({"notMeasured": error.to_string()}));
    report["bf16OverFp8"] = json!(times(&report["bf16"]).zip(times(&report)).map(|(wide, fp8)| wide / fp8));
    Ok(report)
}

fn searched(engine: &Engine, blas: &Blas, sizes: Sizes, precision: Precision) -> Result<Value, CudaError> {
    let shape = sizes.shape(precision);
    let mut drawn = Drawn::new(precision);
    let weights = Arc::new(DecoderWeights::new(engine, &shape, &sizes.trie(), &mut drawn)?);
    let mut decoder = Decoder::new(engine, blas, weights)?;
    let keys = drawn.numbers([sizes.context, shape.key_width()]);
    let request = Request { tokens: sizes.context, context: &[(&keys, &keys)], alive: None, labels: None };
    let walk = decoder.put(engine, &request)?;
    let times = repeats(engine, SEARCHES);
    let eager = engine.time(times, || decoder.decode(engine, blas, walk))?;
    let mut graphs = Graphs::default();
    graphs.warm(engine, walk, || decoder.decode(engine, blas, walk))?;
    let graph = engine.time(times, || graphs.run(&walk, || decoder.decode(engine, blas, walk)))?;
    let found = decoder.found(engine)?;
    let trie = engine.time(repeats(engine, REPEATS), || decoder.search_alone(engine, sizes.levels - 1))?;
    Ok(json!({
        "beams": sizes.beams,
        "context": sizes.context,
        "found": found.leaves.len(),
        "eagerMs": eager,
        "graphMs": graph,
        "graphsLaunched": graphs.launched(),
        "eagerCounted": graphs.eager(),
        "tflops": sizes.operations() / graph / 1e9,
        "trieStepMs": trie,
        "products": decoder.chosen().json(),
    }))
}
