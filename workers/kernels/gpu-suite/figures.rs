//! Figures of the device: products, whole beam searches, the trie's step, and peers where Python has them.
//!
//! In: an engine. Out: JSON. Times are the device's own, means over repeated launches after one that is not counted; weights
//! rotate so that no product finds its own in the cache.

use recmesh_kernels::cuda::{Blas, CudaError, Decoder, Engine, Graphs, Operands, Packed, Precision, Shape, TrieLevel};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::{Level, twins::cases};
use serde_json::{Value, json};

/// The decoders of docs/performance.md.
const ONE: (&str, Shape) = (
    "1B",
    Shape {
        precision: Precision::E4m3,
        width: 1792,
        layers: 18,
        inner: 5376,
        codes: 8192,
        levels: 3,
        context: 3000,
        beams: 512,
    },
);
const TWO: (&str, Shape) = (
    "1.7B",
    Shape {
        precision: Precision::E4m3,
        width: 2304,
        layers: 20,
        inner: 6912,
        codes: 8192,
        levels: 3,
        context: 1000,
        beams: 256,
    },
);
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
    for (name, Shape { width, inner, codes, beams, .. }) in [ONE, TWO] {
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
    json!({"products": products, "searches": searches, "peers": crate::peers::run()})
}

/// One shape by our kernel and by the library, FP8 and bf16.
fn product(
    engine: &Engine,
    blas: Option<&Blas>,
    name: &str,
    (m, n, k): (usize, usize, usize),
) -> Result<Value, CudaError> {
    let copies = ROTATED.div_ceil(n * k).clamp(1, 64);
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
    let ours = engine.time(REPEATS, || {
        at += 1;
        a.times(engine, &b[at % copies], &mut out)
    })?;
    let mut report = json!({"name": name, "m": m, "n": n, "k": k, "oursFp8": figure(ours)});
    let Some(blas) = blas else {
        report["cublaslt"] = json!("not here");
        return Ok(report);
    };
    let theirs = blas.plan(Operands::E4m3, m, n, k).and_then(|plan| {
        engine.time(REPEATS, || {
            at += 1;
            blas.e4m3(engine, &plan, (&a, &b[at % copies]), &mut out)
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
    let bf16 = engine.time(REPEATS, || {
        at += 1;
        blas.bf16(engine, &plan, (&a, &b[at % copies]), &mut out, false)
    })?;
    report["cublasltBf16"] = figure(bf16);
    Ok(report)
}

/// A trie with as many items as a large catalogue: every first code, then 16 and 4 children a node.
fn trie(codes: usize) -> Vec<TrieLevel> {
    let mut levels = Vec::new();
    let mut nodes = 1;
    for children in [codes, 16, 4] {
        let offsets = (0..=nodes).map(|node| (node * children) as u32).collect();
        let below = (0..nodes).flat_map(|node| {
            (0..children).map(move |child| (child * (codes / children) + node % (codes / children)) as u32)
        });
        levels.push(TrieLevel { offsets, codes: below.collect() });
        nodes *= children;
    }
    levels
}

/// Operations of one search, as docs/performance.md counts them.
fn operations(shape: Shape) -> f64 {
    let Shape { width, layers, inner, codes, levels, context, beams, .. } = shape;
    let mut sum = 0.0;
    for level in 0..levels {
        let rows = if level == 0 { 1 } else { beams };
        let weights = layers * (6 * width * width + 3 * inner * width) + codes * width;
        sum += 2.0 * (rows * weights) as f64 + 4.0 * (rows * layers * width * (context + level + 1)) as f64;
    }
    sum
}

/// One decoder's whole search in both precisions, the same weights and the same steps.
fn search(engine: &Engine, blas: &Blas, name: &str, shape: Shape, peak: Option<f64>) -> Result<Value, CudaError> {
    let mut report = searched(engine, blas, shape)?;
    report["name"] = json!(name);
    report["measuredFp8Peak"] = json!(peak);
    report["mfu"] = json!(report["tflops"].as_f64().zip(peak).map(|(tflops, peak)| tflops / peak));
    let wide = searched(engine, blas, Shape { precision: Precision::Bf16, ..shape });
    let times = |report: &Value| report["graphMs"].as_f64();
    report["bf16"] = wide.unwrap_or_else(|error| json!({"notMeasured": error.to_string()}));
    report["bf16OverFp8"] = json!(times(&report["bf16"]).zip(times(&report)).map(|(wide, fp8)| wide / fp8));
    Ok(report)
}

fn searched(engine: &Engine, blas: &Blas, shape: Shape) -> Result<Value, CudaError> {
    let numbers = cases::normals(2, 1 << 20);
    let mut turn = 0;
    let mut weights = |rows: usize, cols: usize| -> Vec<f32> {
        turn += 7919;
        let scale = 1.0 / (cols as f32).sqrt();
        numbers.iter().cycle().skip(turn % numbers.len()).take(rows * cols).map(|x| x * scale).collect()
    };
    let mut decoder = Decoder::new(engine, blas, shape, &trie(shape.codes), &mut weights)?;
    let eager = engine.time(SEARCHES, || decoder.decode(engine, blas))?;
    let mut graphs = Graphs::default();
    graphs.warm(engine, shape, || decoder.decode(engine, blas))?;
    let graph = engine.time(SEARCHES, || graphs.run(&shape, || decoder.decode(engine, blas)))?;
    let (codes, _) = decoder.found(engine)?;
    let trie = engine.time(REPEATS, || decoder.search_alone(engine, shape.levels - 1))?;
    Ok(json!({
        "beams": shape.beams,
        "context": shape.context,
        "found": codes.len(),
        "eagerMs": eager,
        "graphMs": graph,
        "graphsLaunched": graphs.launched(),
        "eagerCounted": graphs.eager(),
        "tflops": operations(shape) / graph / 1e9,
        "trieStepMs": trie,
    }))
}
