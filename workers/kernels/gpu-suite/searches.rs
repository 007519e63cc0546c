//! The whole beam search on the device, eager and as a graph, against the naive one.
//!
//! In: an engine. Out: a line and a JSON value a case, and how many broke. The trie is small enough that every leaf's
//! exact score is known: a found leaf is compared with its own, and the found scores with those of the best leaves, so
//! that leaves which nearly tie may change places. A captured search gives the bits of the eager one.

use std::cell::RefCell;

use recmesh_kernels::cuda::{Blas, CudaError, Decoder, Engine, Graphs, Precision, Shape, TrieLevel};
use recmesh_kernels::twins::cases;
use serde_json::json;

use crate::checks::Checked;
use crate::reference::{self, Layer, Matrix, Model};

/// Its name in reports and JSON.
pub const OPERATION: &str = "beam_search";

/// By how much any score may differ. A sum in another order can put a number on the other side of a rounding, to a bf16 or
/// an E4M3 code, and what hangs on it moves by hundredths; a wrong row, level or order moves most scores by tenths. On a
/// device, whose E4M3 sums are cut at 13 bits, nobody has seen how much is usual.
const BOUND: f64 = 0.25;
/// By how much half of the scores may differ on the emulator, which cuts no sum: those on which no such number hangs.
const USUAL: f64 = 1e-4;

/// Not multiples of the kernels' tiles, where they may be others; fewer nodes than beams at the first level.
const SHAPE: Shape = Shape {
    precision: Precision::E4m3,
    width: 256,
    layers: 2,
    inner: 272,
    codes: 160,
    levels: 3,
    context: 70,
    beams: 24,
};

/// Children of a node of each level; every leaf has a code of its own.
const CHILDREN: [usize; 3] = [8, 5, 4];

fn trie() -> Vec<TrieLevel> {
    let mut nodes = 1;
    let level = |children: &usize| {
        let (before, apart) = (nodes, SHAPE.codes / (nodes * children));
        nodes *= children;
        let offsets = (0..=before).map(|node| (node * children) as u32).collect();
        TrieLevel { offsets, codes: (0..nodes).map(|node| (node * apart) as u32).collect() }
    };
    CHILDREN.iter().map(level).collect()
}

/// Numbers in the order the decoder asks for them.
fn model(shape: Shape) -> Model {
    let seed = RefCell::new(10);
    let matrix = |rows: usize, cols: usize, scale: f32| {
        *seed.borrow_mut() += 1;
        let values = cases::normals(*seed.borrow(), rows * cols).into_iter().map(|x| x * scale).collect();
        Matrix { cols, values }
    };
    let Shape { width, inner, codes, levels, context, .. } = shape;
    let linear = |rows: usize, cols: usize| matrix(rows, cols, 1.0 / (cols as f32).sqrt());
    let layer = |_| Layer {
        cross_query: linear(width, width),
        cross_out: linear(width, width),
        own_query: linear(width, width),
        own_key: linear(width, width),
        own_value: linear(width, width),
        own_out: linear(width, width),
        up: linear(2 * inner, width),
        down: linear(width, inner),
        context: matrix(context, 128, 1.0),
    };
    Model {
        shape,
        layers: (0..shape.layers).map(layer).collect(),
        tables: (0..levels).map(|level| matrix(if level == 0 { 1 } else { codes }, width, 1.0)).collect(),
        heads: (0..levels).map(|_| linear(codes, width)).collect(),
    }
}

fn decoder(engine: &Engine, blas: &Blas, model: &Model, trie: &[TrieLevel]) -> Result<Decoder, CudaError> {
    let layers = model.layers.iter().flat_map(|layer| {
        let Layer { cross_query, cross_out, own_query, own_key, own_value, own_out, up, down, context } = layer;
        [cross_query, cross_out, own_query, own_key, own_value, own_out, up, down, context]
    });
    let ends = model.tables.iter().zip(&model.heads).flat_map(|(table, head)| [table, head]);
    let mut parts = layers.chain(ends);
    let mut next = |rows: usize, cols: usize| -> Vec<f32> {
        let part = parts.next().filter(|part| part.cols == cols && part.values.len() == rows * cols);
        part.map(|part| part.values.clone()).unwrap_or_default()
    };
    Decoder::new(engine, blas, model.shape, trie, &mut next)
}

/// What a case came to.
#[derive(Default)]
struct Found {
    elements: usize,
    error: f64,
    /// That of the leaf in the middle.
    usual: f64,
    broken: Option<String>,
}

/// Runs the search in both precisions.
pub fn run(engine: &Engine, checked: &mut Checked) {
    let blas = Blas::open(engine);
    for precision in [Precision::E4m3, Precision::Bf16] {
        let shape = Shape { precision, ..SHAPE };
        let case = format!("{precision:?}, {} beams, {} levels, context {}", shape.beams, shape.levels, shape.context);
        let found = match &blas {
            Ok(Some(blas)) => Some(compare(engine, blas, shape)),
            Ok(None) => None,
            Err(error) => Some(Err(error.clone())),
        };
        let (verdict, found) = match found {
            None => ("skipped", Found { broken: Some("it needs cuBLASLt".to_owned()), ..Found::default() }),
            Some(Err(error)) => ("broken", Found { broken: Some(error.to_string()), ..Found::default() }),
            Some(Ok(found)) => (if found.broken.is_some() { "broken" } else { "held" }, found),
        };
        let Found { elements, error, usual, broken } = found;
        let words = broken.as_ref().map_or(String::new(), |why| format!(" {}: {why}", verdict.to_uppercase()));
        println!("{:22} {elements:>9} {error:>11.3e} {usual:>11.3e} {BOUND:>11.3e}  {case}{words}", OPERATION);
        checked.broken += usize::from(verdict == "broken");
        checked.cases.push(json!({
            "operation": OPERATION,
            "case": case,
            "elements": elements,
            "maxError": error,
            "usualError": usual,
            "bound": BOUND,
            "verdict": verdict,
            "reason": broken,
        }));
    }
}

fn compare(engine: &Engine, blas: &Blas, shape: Shape) -> Result<Found, CudaError> {
    let (model, trie) = (model(shape), trie());
    let (exact, best) = reference::search(&model, &trie);
    let mut decoder = decoder(engine, blas, &model, &trie)?;
    decoder.decode(engine, blas)?;
    let (codes, scores) = decoder.found(engine)?;
    let mut found = Found { elements: codes.len(), ..Found::default() };
    if codes.len() != best.len() {
        found.broken = Some(format!("{} leaves, not {}", codes.len(), best.len()));
        return Ok(found);
    }
    let leaves = &trie[trie.len() - 1].codes;
    let (mut seen, mut errors) = (vec![false; exact.len()], Vec::new());
    for ((code, &score), best) in codes.iter().zip(&scores).zip(&best) {
        let (leaf, score) = (leaves.iter().position(|leaf| leaf == code), f64::from(score));
        let Some(leaf) = leaf.filter(|&leaf| !std::mem::replace(&mut seen[leaf], true)) else {
            found.broken = Some(format!("code {code} is no leaf's, or found twice"));
            return Ok(found);
        };
        errors.push((score - exact[leaf]).abs().max((score - best.score).abs()));
    }
    errors.sort_by(f64::total_cmp);
    (found.usual, found.error) = (errors[errors.len() / 2], errors[errors.len() - 1]);
    let usual = if engine.device().is_emulated() { USUAL } else { BOUND };
    // Written so that a score that is no number breaks it.
    if !(found.error <= BOUND && found.usual <= usual) {
        found.broken = Some("scores are not within their bounds".to_owned());
    }
    let mut graphs = Graphs::default();
    graphs.warm(engine, shape, || decoder.decode(engine, blas))?;
    // Other beams stand there before the graph runs: it has to find them anew.
    for level in 1..shape.levels {
        decoder.search_alone(engine, level)?;
    }
    let between = decoder.found(engine)?;
    graphs.run(&shape, || Err(CudaError::new("graph", "a captured bucket ran eagerly")))?;
    let captured = decoder.found(engine)?;
    if between.0 == codes || captured.0 != codes || bits(&captured.1) != bits(&scores) {
        found.broken = Some("the captured search gives other bits than the eager one".to_owned());
    }
    graphs.run(&Shape { beams: 1, ..shape }, || decoder.decode(engine, blas))?;
    let again = decoder.found(engine)?;
    if bits(&again.1) != bits(&scores) || (graphs.launched(), graphs.eager()) != (1, 1) {
        found.broken = Some("a search without a graph is not counted, or gives other bits".to_owned());
    }
    Ok(found)
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}
