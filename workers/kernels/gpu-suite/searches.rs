//! The whole beam search on the device, eager and as a graph, against the naive one.
//!
//! In: an engine. Out: a line and a JSON value a case, and how many broke. The trie is small enough that every leaf's
//! exact score is known: a found leaf is compared with its own, and the found scores with those of the best leaves, so
//! that leaves which nearly tie may change places. A captured search gives the bits of the eager one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use recmesh_kernels::Level;
use recmesh_kernels::cuda::{
    Blas, CudaError, Decoder, DecoderWeights, Engine, GemmTable, Given, Graphs, Map, Multiplier, Norm, Operands,
    Precision, Request, Shape, Source, TrieLevel, TrieLevels,
};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::twins::cases;
use serde_json::json;

use crate::checks::Checked;
use crate::reference::{self, Asked, Matrix, Model, NONE, Rounding};

/// Its name in reports and JSON.
pub const OPERATION: &str = "beam_search";

/// By how much any score may differ. A sum in another order can put a number on the other side of a rounding, to a bf16 or
/// an E4M3 code, and what hangs on it moves by hundredths; a wrong row, level or order moves most scores by tenths. Sums
/// of E4M3 that are not cut where the other side's are move half of the scores by 0.04 and all by less than 0.11; on a
/// device nobody has seen how much is usual.
const BOUND: f64 = 0.25;
/// By how much half of the scores may differ on the emulator, which cuts sums as the naive search does: those on which no
/// such number hangs.
const USUAL: f64 = 1e-4;

/// Children of a node of the first levels; fewer nodes than beams at the first.
const CHILDREN: [usize; 2] = [8, 5];
/// Of the last: few, every leaf with a code of its own, or so many that one block does not select from all of them.
const FEW: usize = 4;
const MANY: usize = 1024;
/// Tokens of the request's context: more than a run of keys, fewer than there is room for.
const TOKENS: usize = 70;

/// Sizes that are not multiples of the kernels' tiles where they may be others: plain, or with everything a decoder may
/// have beside: key groups, values apart from keys, a slice a layer, scores by distance, probabilities over children.
pub fn shape(precision: Precision, plain: bool) -> Shape {
    let wide = !plain && precision == Precision::Bf16;
    Shape {
        precision,
        width: 256,
        heads: if plain { 2 } else { 4 },
        groups: if plain { 1 } else { 2 },
        inner: 272,
        slices: if plain { vec![0, 0] } else { vec![1, 0] },
        shared: plain,
        distances: if plain { 0 } else { 5 },
        codes: vec![8, 48, if wide { MANY } else { 40 * FEW }],
        context: TOKENS + 13,
        beams: 24,
        scale: if plain { 1.0 } else { 0.5 },
        renormalise: !plain,
    }
}

fn children(shape: &Shape) -> [usize; 3] {
    [CHILDREN[0], CHILDREN[1], if shape.codes[2] == MANY { MANY } else { FEW }]
}

pub fn leaves(shape: &Shape) -> u32 {
    children(shape).iter().product::<usize>() as u32
}

pub fn trie(shape: &Shape) -> TrieLevels {
    let mut nodes = 1;
    let level = |(children, codes): (&usize, &usize)| {
        let before = nodes;
        nodes *= children;
        let offsets = (0..=before).map(|node| (node * children) as u32).collect();
        let code = |node: usize| (node % codes * (codes / nodes).max(1)) as u32;
        TrieLevel { offsets, codes: (0..nodes).map(code).collect() }
    };
    let levels = children(shape).iter().zip(&shape.codes).map(level).collect();
    TrieLevels { levels, labels: (0..leaves(shape)).collect() }
}

/// A decoder of drawn numbers, none of them a one where a one would hide something.
fn drawn(shape: &Shape) -> Model {
    let mut seed = 10;
    model(shape, |count| {
        seed += 1;
        cases::normals(seed, count)
    })
}

/// A decoder of given numbers, about one in size.
pub fn model(shape: &Shape, mut numbers: impl FnMut(usize) -> Vec<f32>) -> Model {
    let mut matrix = |rows: usize, cols: usize, scale: f32| {
        let values = numbers(rows * cols).into_iter().map(|x| x * scale).collect();
        Matrix { cols, values }
    };
    let (width, inner) = (shape.width, shape.inner);
    let maps = [Map::CrossQuery, Map::CrossOut, Map::OwnQuery, Map::OwnKey, Map::OwnValue, Map::OwnOut];
    let sized = maps.map(|map| (map, width, width)).into_iter();
    let sized: Vec<_> = sized.chain([(Map::Up, 2 * inner, width), (Map::Down, width, inner)]).collect();
    let (mut linear, mut gains, mut distances) = (HashMap::new(), HashMap::new(), Vec::new());
    for at in 0..shape.layers() {
        for &(map, rows, cols) in &sized {
            linear.insert((at, map), matrix(rows, cols, 1.0 / (cols as f32).sqrt()));
        }
        for norm in [Norm::Cross, Norm::Own, Norm::Inner] {
            gains.insert((at, norm), matrix(1, width, 1.0).values);
        }
        distances.push(matrix(shape.heads, shape.distances, 1.0).values);
    }
    let entering = |level: usize| if level == 0 { 1 } else { shape.codes[level - 1] };
    Model {
        inputs: (0..shape.levels()).map(|level| matrix(entering(level), width, 2.0)).collect(),
        head_gains: shape.codes.iter().map(|_| matrix(1, width, 1.0).values).collect(),
        heads: shape.codes.iter().map(|&codes| matrix(codes, width, 1.0 / (width as f32).sqrt())).collect(),
        shape: shape.clone(),
        rounding: Rounding::Stored,
        linear,
        gains,
        distances,
    }
}

/// Everything may be answered, or what is left without every third node and every fifth leaf.
fn asked(shape: &Shape, all: bool) -> Asked {
    let drawn = |seed| Matrix { cols: shape.key_width(), values: cases::normals(seed, TOKENS * shape.key_width()) };
    let context = (0..shape.slice_count() as u64).map(|slice| (drawn(500 + slice), drawn(600 + slice))).collect();
    let without = |nodes: &usize| -> Vec<u32> {
        let mut bits = vec![0; nodes.div_ceil(32)];
        (0..*nodes).filter(|node| node % 3 != 1).for_each(|node| bits[node / 32] |= 1 << (node % 32));
        bits
    };
    let alive = (!all).then(|| [CHILDREN[0], CHILDREN[0] * CHILDREN[1]].iter().map(without).collect());
    let labels = (0..leaves(shape)).map(|leaf| if !all && leaf % 5 == 2 { NONE } else { leaf }).collect();
    Asked { context, alive, labels }
}

impl Source for &Model {
    fn linear(&mut self, layer: usize, map: Map, [rows, cols]: [usize; 2]) -> Given<'_> {
        let values = &self.linear[&(layer, map)].values;
        match self.shape.precision {
            Precision::Bf16 => Given::Floats(Cow::Borrowed(values)),
            Precision::E4m3 => {
                let made = Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, values, rows, cols);
                Given::Codes(Cow::Owned(made))
            }
        }
    }

    fn gain(&mut self, layer: usize, norm: Norm, _cols: usize) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.gains[&(layer, norm)])
    }

    fn distances(&mut self, layer: usize, _shape: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.distances[layer])
    }

    fn inputs(&mut self, level: usize, _shape: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.inputs[level].values)
    }

    fn head_gain(&mut self, level: usize, _cols: usize) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.head_gains[level])
    }

    fn head(&mut self, level: usize, _shape: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.heads[level].values)
    }
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

/// Runs searches in both precisions, of E4M3 by our products and by the library's, then one that chooses for itself.
pub fn run(engine: &Engine, checked: &mut Checked) {
    for (precision, plain) in [Precision::E4m3, Precision::Bf16].into_iter().flat_map(|of| [(of, true), (of, false)]) {
        let shape = shape(precision, plain);
        let kind = match (plain, precision) {
            (true, Precision::E4m3) => "by our products",
            (true, Precision::Bf16) => "plain",
            (false, Precision::E4m3) => "by cuBLASLt, groups, slices, distances",
            (false, Precision::Bf16) => "many candidates, groups, slices, distances",
        };
        let case = format!("{precision:?}, {kind}, {} beams, context {TOKENS}", shape.beams);
        let found = match Blas::open(engine) {
            Ok(Some(blas)) => {
                let by = if plain { Multiplier::Ours } else { Multiplier::Library };
                Some(compare(engine, &blas.with_table(table(&shape, by)), &shape))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        };
        report(checked, &case, found);
    }
    let found = match Blas::open(engine) {
        Ok(Some(blas)) => Some(measured(engine, blas)),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    };
    report(checked, "E4m3, products chosen by their times", found);
}

fn report(checked: &mut Checked, case: &str, found: Option<Result<Found, CudaError>>) {
    let (verdict, found) = match found {
        None => ("skipped", Found { broken: Some("it needs cuBLASLt".to_owned()), ..Found::default() }),
        Some(Err(error)) => ("broken", Found { broken: Some(error.to_string()), ..Found::default() }),
        Some(Ok(found)) => (if found.broken.is_some() { "broken" } else { "held" }, found),
    };
    let Found { elements, error, usual, broken } = found;
    let words = broken.as_ref().map_or(String::new(), |why| format!(" {}: {why}", verdict.to_uppercase()));
    println!("{OPERATION:22} {elements:>9} {error:>11.3e} {usual:>11.3e} {BOUND:>11.3e}  {case}{words}");
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

/// Without a table every shape is timed; with what came of it nothing is, and the same is found.
fn measured(engine: &Engine, blas: Blas) -> Result<Found, CudaError> {
    let shape = Shape { width: 128, heads: 1, inner: 128, slices: vec![0], beams: 8, ..shape(Precision::E4m3, true) };
    let (model, trie, asked) = (drawn(&shape), trie(&shape), asked(&shape, true));
    let weights = Arc::new(DecoderWeights::new(engine, &shape, &trie, &mut &model)?);
    let context: Vec<(&[f32], &[f32])> =
        asked.context.iter().map(|(keys, values)| (keys.values.as_slice(), values.values.as_slice())).collect();
    let request = Request { tokens: TOKENS, context: &context, alive: None, labels: None };
    let search = |blas: &Blas| {
        let mut decoder = Decoder::new(engine, blas, Arc::clone(&weights))?;
        let walk = decoder.put(engine, &request)?;
        decoder.decode(engine, blas, walk)?;
        Ok::<_, CudaError>((decoder.chosen().clone(), decoder.found(engine)?))
    };
    let (chosen, eager) = search(&blas)?;
    let (again, same) = search(&blas.with_table(chosen.clone()))?;
    let mut found = Found { elements: eager.leaves.len(), ..Found::default() };
    let shapes = chosen.json().as_array().map_or(0, Vec::len);
    if shapes != 6 || again != chosen || same != eager {
        found.broken = Some(format!("{shapes} shapes chosen, not 6, or another search by the table that came of them"));
    }
    Ok(found)
}

/// A table that gives every product of a decoder to one of the two.
pub fn table(shape: &Shape, by: Multiplier) -> GemmTable {
    let (width, inner) = (shape.width, shape.inner);
    let mut table = GemmTable::default();
    for m in [1, shape.beams] {
        table.set(Operands::E4m3, [m, width, width], by);
        for [n, k] in [[width, width], [2 * inner, width], [width, inner]] {
            table.set(Operands::E4m3Single, [m, n, k], by);
        }
    }
    table
}

fn compare(engine: &Engine, blas: &Blas, shape: &Shape) -> Result<Found, CudaError> {
    let (mut model, trie) = (drawn(shape), trie(shape));
    // Our kernel's sums are the tensor core's; what the library's do is not documented, the emulator's are in f64.
    if blas.table().get(Operands::E4m3, [1, shape.width, shape.width]) == Some(Multiplier::Ours) {
        model.rounding = Rounding::Cut;
    }
    let weights = Arc::new(DecoderWeights::new(engine, shape, &trie, &mut &model)?);
    let mut decoder = Decoder::new(engine, blas, weights)?;
    if shape.precision == Precision::E4m3 && decoder.chosen() != blas.table() {
        let broken = Some(format!("the table says {}, chosen is {}", blas.table().json(), decoder.chosen().json()));
        return Ok(Found { broken, ..Found::default() });
    }
    let mut graphs = Graphs::default();
    let (mut found, mut errors, mut leaves) = (Found::default(), Vec::new(), Vec::new());
    for all in [true, false] {
        let asked = asked(shape, all);
        let (exact, best) = reference::search(&model, &trie.levels, &asked);
        let context: Vec<(&[f32], &[f32])> =
            asked.context.iter().map(|(keys, values)| (keys.values.as_slice(), values.values.as_slice())).collect();
        let labels = (!all).then_some(asked.labels.as_slice());
        let walk = decoder
            .put(engine, &Request { tokens: TOKENS, context: &context, alive: asked.alive.as_deref(), labels })?;
        decoder.decode(engine, blas, walk)?;
        let eager = decoder.found(engine)?;
        if eager.leaves.len() != best.len() || eager.not_a_number {
            found.broken = Some(format!("{} leaves, not {}, or no numbers", eager.leaves.len(), best.len()));
            return Ok(found);
        }
        let mut seen = vec![false; exact.len()];
        for ((&leaf, &score), best) in eager.leaves.iter().zip(&eager.scores).zip(&best) {
            let leaf = leaf as usize;
            if std::mem::replace(&mut seen[leaf], true) || asked.labels[leaf] == NONE {
                found.broken = Some(format!("leaf {leaf} twice, or though it may not be answered"));
            }
            let score = f64::from(score);
            errors.push((score - exact[leaf]).abs().max((score - best.score).abs()));
        }
        errors.sort_by(f64::total_cmp);
        found.elements = errors.len();
        (found.usual, found.error) = (errors[errors.len() / 2], errors[errors.len() - 1]);
        let usual = if engine.device().is_emulated() { USUAL } else { BOUND };
        // Written so that a score that is no number breaks it.
        if !(found.error <= BOUND && found.usual <= usual) {
            found.broken = Some("scores are not within their bounds".to_owned());
        }
        if found.broken.is_some() {
            return Ok(found);
        }
        graphs.warm(engine, walk, || decoder.decode(engine, blas, walk))?;
        // Other beams stand there before the graph runs: it has to find them anew.
        for level in 1..shape.levels() {
            decoder.search_alone(engine, level)?;
        }
        let between = decoder.found(engine)?;
        graphs.run(&walk, || Err(CudaError::new("graph", "a captured bucket ran eagerly")))?;
        let captured = decoder.found(engine)?;
        if between == eager || captured.leaves != eager.leaves || bits(&captured.scores) != bits(&eager.scores) {
            found.broken = Some("the captured search gives other bits than the eager one".to_owned());
        }
        leaves.push((walk, eager));
    }
    // A search that no graph was captured for is done, gives the same, and is counted.
    let mut none = Graphs::default();
    let (walk, eager) = &leaves[leaves.len() - 1];
    none.run(walk, || decoder.decode(engine, blas, *walk))?;
    let counted = (graphs.launched(), graphs.eager(), none.launched(), none.eager());
    if bits(&decoder.found(engine)?.scores) != bits(&eager.scores) || counted != (2, 0, 0, 1) {
        found.broken = Some("a search without a graph gives other bits, or is not counted".to_owned());
    }
    Ok(found)
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}
