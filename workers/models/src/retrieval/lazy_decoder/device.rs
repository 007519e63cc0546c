//! A lazy decoder at work on a CUDA device: the context on the CPU, the whole beam search in one launch.
//!
//! ```text
//! history ─► context (CPU) ─► keys, values ─► device: search of all levels ─► leaves, scores ─► filter ─► items
//! query   ─► nodes and leaves that may be walked ──────────┘
//! ```
//! In: queries, one at a time: a batch is answered one after another. Out: the items that the CPU's search finds, by the
//! same filter and the same order of ties; scores within [`BOUND`] or [`QUANTISED_BOUND`] of its. What the kernels cannot do (more items than
//! beams, ties by a hash) the CPU answers, counted; an engine whose device fails stays with the CPU and says why. Weights
//! are uploaded once and shared by all forks. Never run on a device; tests run it on the emulated driver.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use recmesh_contract::{Candidate, DeviceWork, Failure, ItemIndex, Query, Recommend, Threads, Ties};
use recmesh_kernels::cuda::{
    Blas, CudaError, Decoder, DecoderWeights, Device, Engine, Found, GemmTable, Given, Graphs, Map, Norm, Precision,
    Request, Shape, Source, TrieLevel, TrieLevels, Walk,
};
use recmesh_kernels::{ParamId, QuantisedLinear, QuantisedWeights, Tape};

use super::super::sequence::newest;
use super::context::{Context, Tokens};
use super::model::{IN_BYTES, LazyDecoder};
use super::serve::Server;
use crate::answer::not_a_number;
use crate::decoding::{Masks, Options, Paths, Search};
use crate::quant::Quantisable;

/// How far a score, a log-probability of a path, may be from the CPU's over the same weights, where layers multiply in
/// bf16: the CPU rounds nothing to bf16, the device rows, weights, queries, keys and values, 2⁻⁹ of each.
pub const BOUND: f32 = 0.05;

/// The same in E4M3. Both sides have the same codes and scales of weights, but a row that differs by a rounding to bf16
/// is quantised to other codes here and there: two such answers are about as far apart as either is from f32's.
pub const QUANTISED_BOUND: f32 = 0.25;

/// A lazy decoder that answers from a device, with memory of its own there.
pub struct DeviceServer {
    /// Answers what the device does not, and holds the model.
    cpu: Server,
    shared: Arc<Shared>,
    masks: Masks,
    /// Taken at the first query, so that a fork that never answers takes no memory.
    running: Option<Running>,
    work: DeviceWork,
    /// Whether the device failed: it is not asked again.
    failed: bool,
    illegal: u64,
}

/// What all forks read.
struct Shared {
    engine: Engine,
    weights: Arc<DecoderWeights>,
    /// Whose product each shape gets, as the first search timed it: all forks multiply alike, and agree in bits.
    products: GemmTable,
    /// The one that was made to see that there is room; the first fork that works takes it.
    spare: Mutex<Option<Running>>,
}

/// One stream with the memory of one search.
struct Running {
    graphs: Graphs<Walk>,
    decoder: Decoder,
    blas: Blas,
    engine: Engine,
    /// Why no graph was captured.
    uncaptured: Option<String>,
}

impl Running {
    fn new(engine: Engine, weights: &Arc<DecoderWeights>, products: GemmTable) -> Result<Self, CudaError> {
        let missing = || CudaError::new("products in bf16", "there is no cuBLASLt library (libcublasLt.so)");
        let blas = Blas::open(&engine)?.ok_or_else(missing)?.with_table(products);
        let mut decoder = Decoder::new(&engine, &blas, Arc::clone(weights))?;
        let (mut graphs, mut uncaptured) = (Graphs::default(), None);
        for walk in [Walk::Open, Walk::Restricted] {
            if let Err(error) = graphs.warm(&engine, walk, || decoder.decode(&engine, &blas, walk)) {
                // Where the kernels run nevertheless, they are launched one by one.
                decoder.decode(&engine, &blas, walk)?;
                engine.wait()?;
                uncaptured = Some(format!("no graph was captured ({error}); kernels are launched one by one"));
            }
        }
        Ok(Self { graphs, decoder, blas, engine, uncaptured })
    }

    fn search(&mut self, request: &Request<'_>) -> Result<Found, CudaError> {
        let Self { graphs, decoder, blas, engine, .. } = self;
        let walk = decoder.put(engine, request)?;
        graphs.run(&walk, || decoder.decode(engine, blas, walk))?;
        decoder.found(engine)
    }
}

impl DeviceServer {
    /// Uploads a model and sees that one search has room and runs.
    ///
    /// # Errors
    /// With one sentence about what has no kernel or what the device refused.
    pub fn open(model: LazyDecoder, device: &Device) -> Result<Self, CudaError> {
        Self::with_products(model, device, GemmTable::default())
    }

    /// The same by a table of whose product each shape gets; those it lacks are timed.
    fn with_products(model: LazyDecoder, device: &Device, products: GemmTable) -> Result<Self, CudaError> {
        let shape = model.checked_shape()?;
        let masks = Masks::new(&model.catalog);
        let trie = trie(&model, &masks);
        let engine = Engine::open(device)?;
        let weights = Arc::new(DecoderWeights::new(&engine, &shape, &trie, &mut Trained(&model))?);
        let first = Running::new(engine.fork()?, &weights, products)?;
        let products = first.decoder.chosen().clone();
        let shared = Arc::new(Shared { engine, weights, products, spare: Mutex::new(Some(first)) });
        Ok(Self::over(Server::new(model), shared, masks))
    }

    fn over(cpu: Server, shared: Arc<Shared>, masks: Masks) -> Self {
        Self { cpu, shared, masks, running: None, work: DeviceWork::default(), failed: false, illegal: 0 }
    }

    /// Another one over the same weights.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::over(self.cpu.another(), Arc::clone(&self.shared), self.masks.clone())
    }

    /// Whether the kernels can search for this.
    fn takes(&self, query: &Query<'_>) -> bool {
        !self.failed && query.k <= self.shared.weights.shape().beams && query.ties == Ties::ByIndex
    }

    /// The answer to one query with a history; the outer error is the device's.
    fn search(&mut self, query: &Query<'_>, known: &[ItemIndex]) -> Result<Result<Vec<Candidate>, Failure>, CudaError> {
        let Self { cpu, shared, masks, running, work, illegal, .. } = self;
        let Server { model, packed, ancestry, live, workspace, .. } = cpu;
        let running = match running {
            Some(running) => running,
            None => {
                let spare = shared.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
                let made = match spare {
                    Some(spare) => spare,
                    None => Running::new(shared.engine.fork()?, &shared.weights, shared.products.clone())?,
                };
                work.trouble = made.uncaptured.clone().or(work.trouble.take());
                running.insert(made)
            }
        };
        let decode = &model.config.decode;
        let options = Options { beams: decode.beams as usize, renormalise: decode.renormalise };
        let paths = Paths::new(&model.catalog, ancestry, live.as_deref(), query);
        let mut search = Search::default();
        search.begin(&paths, options);
        let restrictions = masks.of(&search, &paths);
        let mut tokens = Tokens::default();
        let span = model.push_history(&mut tokens, newest(known, model.config.context_length as usize));
        let mut tape = Tape::serve_packed(&model.params, packed, workspace);
        let mut context = Context::default();
        model.context(&mut tape, &tokens, &mut context);
        let context: Vec<(&[f32], &[f32])> =
            context.slices.iter().map(|&[key, value]| (tape.value(key), tape.value(value))).collect();
        let request = Request {
            tokens: (span.end - span.start) as usize,
            context: &context,
            alive: restrictions.map(|(alive, _)| alive),
            labels: restrictions.map(|(_, labels)| labels),
        };
        let found = running.search(&request)?;
        (work.graphs, work.eager) = (running.graphs.launched(), running.graphs.eager());
        if found.not_a_number {
            return Ok(Err(not_a_number()));
        }
        let (answer, unnamed) = search.end(&paths, found.leaves.into_iter().zip(found.scores));
        *illegal += unnamed;
        Ok(Ok(answer))
    }
}

impl Recommend for DeviceServer {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let mut answers = vec![Vec::new(); queries.len()];
        let items = self.cpu.model.catalog.len();
        let mut known: Vec<ItemIndex> = Vec::new();
        for (query, answer) in queries.iter().zip(&mut answers) {
            known.clear();
            known.extend(query.history.iter().filter(|&&item| (item as usize) < items));
            if known.is_empty() || query.k == 0 {
                continue;
            }
            if self.takes(query) {
                match self.search(query, &known) {
                    Ok(found) => {
                        *answer = found?;
                        continue;
                    }
                    Err(error) => {
                        self.failed = true;
                        self.running = None;
                        self.work.trouble = Some(format!("the device failed ({error}); the CPU answers from now on"));
                    }
                }
            }
            self.work.declined += 1;
            let beams = self.shared.weights.shape().beams;
            if query.k > beams && self.work.trouble.is_none() {
                // A pipeline that ranks asks for all of its candidates.
                self.work.trouble = Some(format!(
                    "{} items are asked for and decode.beams is {beams}: the CPU answers; raise decode.beams",
                    query.k
                ));
            }
            *answer = self.cpu.recommend(std::slice::from_ref(query))?.into_iter().next().unwrap_or_default();
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(self.another())
    }

    /// For contexts, and what the device does not answer.
    fn set_threads(&mut self, threads: &Threads) -> usize {
        self.cpu.set_threads(threads)
    }

    fn device(&self) -> DeviceWork {
        self.work.clone()
    }

    fn illegal(&self) -> u64 {
        self.illegal + self.cpu.illegal()
    }
}

/// The trie as the kernels read it.
fn trie(model: &LazyDecoder, masks: &Masks) -> TrieLevels {
    let trie = model.catalog.trie();
    let level = |depth: usize| {
        let ends = (0..trie.size(depth)).map(|node| trie.children(depth, node).end);
        TrieLevel { offsets: std::iter::once(0).chain(ends).collect(), codes: trie.codes(depth + 1).to_vec() }
    };
    TrieLevels { levels: (0..trie.levels()).map(level).collect(), labels: masks.usual().to_vec() }
}

impl LazyDecoder {
    /// Its sizes, where the kernels can serve it.
    fn checked_shape(&self) -> Result<Shape, CudaError> {
        let weights = |id: &ParamId| self.params.quantised(*id).map(QuantisedLinear::weights);
        let in_bytes = |id: &ParamId| matches!(weights(id), Some(QuantisedWeights::Int8(_)));
        if self.linear_layers().iter().any(in_bytes) {
            return Err(CudaError::new("decoder", IN_BYTES));
        }
        let shape = self.device_shape();
        shape.check().map(|()| shape)
    }

    /// Its sizes as the kernels name them.
    pub(super) fn device_shape(&self) -> Shape {
        let (config, layout) = (&self.config, &self.layout);
        let kind = |id: ParamId| self.params.quantised(id).map(QuantisedLinear::weights);
        let quantised =
            layout.layers.iter().any(|layer| matches!(kind(layer.cross.query), Some(QuantisedWeights::Fp8(_))));
        Shape {
            precision: if quantised { Precision::E4m3 } else { Precision::Bf16 },
            width: config.d_model as usize,
            heads: config.heads as usize,
            groups: config.kv_groups as usize,
            inner: (config.d_model * config.ffn) as usize,
            slices: layout.layers.iter().map(|layer| layer.slice).collect(),
            shared: config.kv_split == 1,
            distances: layout.layers.first().map_or(0, |layer| self.params.get(layer.cross.bias).cols),
            codes: (0..self.levels()).map(|level| layout.codes(level).len()).collect(),
            context: config.context_length as usize,
            beams: config.decode.beams as usize,
            scale: self.embedding_scale(),
            renormalise: config.decode.renormalise,
        }
    }
}

/// The weights of a trained model: floats, or the codes and scales that its gates judged.
struct Trained<'a>(&'a LazyDecoder);

impl Trained<'_> {
    fn floats(&self, id: ParamId) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.0.params.get(id).data)
    }

    /// Rows of a table.
    fn rows(&self, id: ParamId, first: usize, [rows, cols]: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Borrowed(&self.0.params.get(id).data[first * cols..(first + rows) * cols])
    }
}

impl Source for Trained<'_> {
    fn linear(&mut self, layer: usize, map: Map, _shape: [usize; 2]) -> Given<'_> {
        let it = &self.0.layout.layers[layer];
        let id = match map {
            Map::CrossQuery => it.cross.query,
            Map::CrossOut => it.cross.output,
            Map::OwnQuery => it.own.query,
            Map::OwnKey => it.own.key,
            Map::OwnValue => it.own.value,
            Map::OwnOut => it.own.output,
            Map::Up => it.ffn.up,
            Map::Down => it.ffn.down,
        };
        match self.0.params.quantised(id).map(QuantisedLinear::weights) {
            Some(QuantisedWeights::Fp8(weights)) => Given::Codes(Cow::Borrowed(weights)),
            // A model in signed bytes has no kernels and never comes here.
            Some(QuantisedWeights::Int8(_)) | None => Given::Floats(self.floats(id)),
        }
    }

    fn gain(&mut self, layer: usize, norm: Norm, _cols: usize) -> Cow<'_, [f32]> {
        let it = &self.0.layout.layers[layer];
        self.floats(match norm {
            Norm::Cross => it.cross.norm,
            Norm::Own => it.own.norm,
            Norm::Inner => it.ffn.norm,
        })
    }

    fn distances(&mut self, layer: usize, _shape: [usize; 2]) -> Cow<'_, [f32]> {
        self.floats(self.0.layout.layers[layer].cross.bias)
    }

    fn inputs(&mut self, level: usize, shape: [usize; 2]) -> Cow<'_, [f32]> {
        let layout = &self.0.layout;
        let first = if level == 0 { layout.bos() } else { layout.starts[level - 1] };
        self.rows(layout.code, first as usize, shape)
    }

    fn head_gain(&mut self, level: usize, _cols: usize) -> Cow<'_, [f32]> {
        self.floats(self.0.layout.head_norms[level])
    }

    fn head(&mut self, level: usize, shape: [usize; 2]) -> Cow<'_, [f32]> {
        let layout = &self.0.layout;
        self.rows(layout.head, layout.starts[level] as usize, shape)
    }
}

#[cfg(test)]
mod tests;
