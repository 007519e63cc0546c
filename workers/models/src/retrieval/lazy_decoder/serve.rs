//! A lazy decoder at work: context once per request, then one short step per level over all beams.
//!
//! In: queries, several at once. Out: items of the best semantic IDs. Earlier levels of a beam live as key and value
//! rows of the step that made them; a beam finds its own by the chain of its ancestors, and the context is read by all
//! beams of a request where it lies. Items the catalog does not have are skipped in a history. Nothing is allocated but
//! the answers once a pass no larger has been made: all else lies in memory that a server keeps.

use std::sync::Arc;

use recmesh_contract::{Candidate, Failure, ItemIndex, Query, Recommend, Threads};
use recmesh_kernels::{Packed, Span, Tape, Var, Workspace};

use super::super::pass::rows_per_pass;
use super::super::sequence::newest;
use super::context::{Context, Tokens};
use super::model::LazyDecoder;
use crate::decoding::{Ancestry, NodeSet, Options, Paths, Search};
use crate::team::team;

/// Beams whose logits are computed at once.
const BLOCK_ROWS: usize = 256;

/// A lazy decoder with scratch memory of its own.
pub struct Server {
    pub(super) model: LazyDecoder,
    pub(super) packed: Arc<Packed>,
    pub(super) ancestry: Arc<Ancestry>,
    pub(super) live: Option<Arc<NodeSet>>,
    pub(super) workspace: Workspace,
    /// For logits, while the first one holds a pass.
    scratch: Workspace,
    pass: Pass,
    counters: Counters,
    /// Keys and values of the last pass, as they were when it ended.
    #[cfg(test)]
    seen: Vec<f32>,
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Contexts computed: one per answered query.
    pub contexts: u64,
    /// Final beams that named no item.
    pub illegal: u64,
}

/// Queries answered together, in memory that the next ones use again: as much as the largest pass so far took.
#[derive(Default)]
struct Pass {
    /// The first `asked` are under way; the others are memory.
    requests: Vec<Request>,
    asked: usize,
    known: Vec<ItemIndex>,
    tokens: Tokens,
    context: Context,
    step: Step,
    memory: Memory,
}

/// One query under way.
struct Request {
    /// Place in the batch.
    at: usize,
    /// Its tokens.
    context: Span,
    search: Search,
}

/// What the rows of a step are made of, a row a beam.
#[derive(Default)]
struct Step {
    inputs: Vec<u32>,
    context: Vec<Span>,
    positions: Vec<u32>,
    own: Vec<Span>,
    /// Values that outlive the step.
    lasting: Vec<Var>,
}

/// Keys and values that decoder rows have left behind.
#[derive(Default)]
struct Memory {
    /// By layer: those of every level's step.
    layers: Vec<Left>,
    /// Rows of all steps.
    rows: u32,
    /// For every current beam, its rows in the stack of all steps, oldest first, one a level.
    chains: Vec<u32>,
    next: Vec<u32>,
}

/// What a layer has left behind.
#[derive(Default)]
struct Left {
    keys: Vec<Var>,
    values: Vec<Var>,
}

/// What a pass reads.
#[derive(Clone, Copy)]
struct Given<'a> {
    model: &'a LazyDecoder,
    packed: &'a Packed,
    ancestry: &'a Ancestry,
    live: Option<&'a NodeSet>,
    queries: &'a [Query<'a>],
}

impl<'a> Given<'a> {
    /// Where a request may walk.
    fn paths(&self, request: &Request) -> Paths<'a> {
        Paths::new(&self.model.catalog, self.ancestry, self.live, &self.queries[request.at])
    }
}

impl Server {
    pub(super) fn new(mut model: LazyDecoder) -> Self {
        let packed = model.packed();
        if let Some(params) = Arc::get_mut(&mut model.params) {
            packed.maps().chain([model.layout.head]).for_each(|id| params.drop_values(id));
        }
        let catalog = &model.catalog;
        let trie = catalog.trie();
        let ancestry = Ancestry::new(&trie);
        let live = catalog.live().map(|mask| {
            let items = (0..catalog.len() as u32).filter(|&item| mask.contains(item));
            Arc::new(NodeSet::above(&trie, &ancestry, items))
        });
        Self {
            packed: Arc::new(packed),
            ancestry: Arc::new(ancestry),
            live,
            workspace: Workspace::default(),
            scratch: Workspace::default(),
            pass: Pass::default(),
            counters: Counters::default(),
            #[cfg(test)]
            seen: Vec::new(),
            model,
        }
    }

    /// Another one over the same weights.
    pub(super) fn another(&self) -> Self {
        Self {
            model: self.model.clone(),
            packed: Arc::clone(&self.packed),
            ancestry: Arc::clone(&self.ancestry),
            live: self.live.clone(),
            workspace: Workspace::default(),
            scratch: Workspace::default(),
            pass: Pass::default(),
            counters: Counters::default(),
            #[cfg(test)]
            seen: Vec::new(),
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    #[cfg(test)]
    pub(super) fn seen(&self) -> Vec<f32> {
        self.seen.clone()
    }

    /// Answers the queries of the pass, and empties it.
    fn answer(&mut self, queries: &[Query<'_>], answers: &mut [Vec<Candidate>]) -> Result<(), Failure> {
        let Self { model, packed, ancestry, live, workspace, scratch, pass, counters, .. } = self;
        let given = Given { model, packed, ancestry, live: live.as_deref(), queries };
        let decode = &model.config.decode;
        let options = Options { beams: decode.beams as usize, renormalise: decode.renormalise };
        for request in &mut pass.requests[..pass.asked] {
            request.search.begin(&given.paths(request), options);
        }
        let mut tape = Tape::serve_packed(&model.params, packed, workspace);
        let start = tape.mark();
        model.context(&mut tape, &pass.tokens, &mut pass.context);
        tape.release(start, pass.context.slices.as_flattened());
        counters.contexts += pass.asked as u64;
        pass.memory.begin(model.layout.layers.len(), pass.asked);
        for level in 0..model.levels() {
            let Some(hidden) = model.step(&mut tape, pass, level) else { break };
            let requests = &mut pass.requests[..pass.asked];
            score(given, scratch, tape.value(hidden), level, requests);
            descend(given, requests, &mut pass.memory)?;
        }
        #[cfg(test)]
        {
            let slices = pass.context.slices.as_flattened();
            self.seen = slices.iter().flat_map(|&rows| tape.value(rows).to_vec()).collect();
        }
        for request in &pass.requests[..pass.asked] {
            let (answer, illegal) = request.search.finish(&given.paths(request));
            counters.illegal += illegal;
            answers[request.at] = answer;
        }
        pass.clear();
        Ok(())
    }
}

impl Pass {
    fn clear(&mut self) {
        self.asked = 0;
        self.tokens.clear();
    }

    /// Adds a query with a history that is not empty; gives its number of tokens.
    fn push(&mut self, model: &LazyDecoder, at: usize) -> usize {
        let context = model.push_history(&mut self.tokens, newest(&self.known, model.config.context_length as usize));
        match self.requests.get_mut(self.asked) {
            Some(request) => (request.at, request.context) = (at, context),
            None => self.requests.push(Request { at, context, search: Search::default() }),
        }
        self.asked += 1;
        (context.end - context.start) as usize
    }
}

impl LazyDecoder {
    /// One decoder row per beam of every request: hidden rows, normed for the head of `level`. `None` without beams.
    fn step(&self, tape: &mut Tape<'_>, pass: &mut Pass, level: usize) -> Option<Var> {
        let Pass { requests, asked, tokens, context, step, memory, .. } = pass;
        step.gather(self, &requests[..*asked], level);
        if step.inputs.is_empty() {
            return None;
        }
        memory.rows += step.inputs.len() as u32;
        let start = tape.mark();
        let x = tape.embed(self.layout.code, &step.inputs);
        let mut x = tape.scale(x, self.embedding_scale());
        for (layer, left) in self.layout.layers.iter().zip(&mut memory.layers) {
            let positions = (&step.positions[..], &tokens.positions[..]);
            let [key, value] = context.slices[layer.slice];
            x = self.shape.cross(tape, &layer.cross, x, (key, value), &step.context, positions);
            let (normed, key, value) = self.shape.project(tape, &layer.own, x);
            left.keys.push(key);
            left.values.push(value);
            let (keys, values) = (tape.stack(&left.keys), tape.stack(&left.values));
            let (keys, values) = (tape.gather(keys, &memory.chains), tape.gather(values, &memory.chains));
            x = self.shape.attend(tape, &layer.own, x, (normed, keys, values), &step.own, None);
            x = self.shape.feed_forward(tape, &layer.ffn, x);
            step.lasting.extend([key, value, x]);
            tape.release(start, &step.lasting);
            step.lasting.pop();
        }
        Some(tape.rms_norm(x, self.layout.head_norms[level]))
    }
}

impl Step {
    /// Takes in the current beams of all requests.
    fn gather(&mut self, model: &LazyDecoder, requests: &[Request], level: usize) {
        let Self { inputs, context, positions, own, lasting } = self;
        inputs.clear();
        context.clear();
        positions.clear();
        own.clear();
        lasting.clear();
        let (trie, layout, length) = (model.catalog.trie(), &model.layout, level as u32 + 1);
        for request in requests {
            let span = request.context;
            for beam in request.search.beams() {
                let code = |level: usize| layout.starts[level] + request.search.code(&trie, beam);
                let row = inputs.len() as u32;
                inputs.push(if level == 0 { layout.bos() } else { code(level - 1) });
                context.push(span);
                positions.push(span.end - span.start - 1);
                own.push(Span { start: row * length, end: (row + 1) * length });
            }
        }
    }
}

impl Memory {
    /// Forgets all rows; every request has one beam, which is about to leave its first.
    fn begin(&mut self, layers: usize, requests: usize) {
        self.layers.resize_with(layers, Left::default);
        for left in &mut self.layers {
            left.keys.clear();
            left.values.clear();
        }
        self.rows = 0;
        self.chains.clear();
        self.chains.extend(0..requests as u32);
    }
}

/// Offers every beam's children, a block of rows at a time; beams that can add nothing are left out.
fn score(given: Given<'_>, scratch: &mut Workspace, hidden: &[f32], level: usize, requests: &mut [Request]) {
    let model = given.model;
    let dim = model.config.d_model as usize;
    let codes = model.layout.codes(level);
    let mut row = 0;
    for request in requests {
        let paths = given.paths(request);
        let beams = request.search.beams().len();
        for first in (0..beams).step_by(BLOCK_ROWS) {
            if request.search.hopeless(first) {
                break;
            }
            let block = first..(first + BLOCK_ROWS).min(beams);
            let mut tape = Tape::serve_packed(&model.params, given.packed, scratch);
            let x = tape.constant(block.len(), dim, &hidden[(row + block.start) * dim..(row + block.end) * dim]);
            let logits = tape.logits(x, model.layout.head, codes.clone());
            for (beam, logits) in block.zip(tape.value(logits).chunks_exact(codes.len())) {
                if request.search.hopeless(beam) {
                    break;
                }
                request.search.score(&paths, beam, logits);
            }
        }
        row += beams;
    }
}

/// Takes every request one level down; the new beams get their parents' chains and the rows they are about to leave.
fn descend(given: Given<'_>, requests: &mut [Request], memory: &mut Memory) -> Result<(), Failure> {
    let Memory { rows, chains, next, .. } = memory;
    let before: usize = requests.iter().map(|request| request.search.beams().len()).sum();
    let length = chains.len() / before.max(1);
    next.clear();
    let (mut first, mut own) = (0, *rows..);
    for request in requests {
        let beams = request.search.beams().len();
        request.search.advance(&given.paths(request))?;
        for beam in request.search.beams() {
            next.extend_from_slice(&chains[(first + beam.parent as usize) * length..][..length]);
            next.extend(own.next());
        }
        first += beams;
    }
    // Swapped, each would grow in turns.
    chains.clone_from(next);
    Ok(())
}

impl Recommend for Server {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let config = &self.model.config;
        let (most, beams) =
            (rows_per_pass(config.d_model, config.layers * self.model.levels() as u32), config.decode.beams as usize);
        let mut answers = vec![Vec::new(); queries.len()];
        let mut rows = 0;
        self.pass.clear();
        for (at, query) in queries.iter().enumerate() {
            let Self { model, pass, .. } = self;
            pass.known.clear();
            pass.known.extend(query.history.iter().filter(|&&item| (item as usize) < model.catalog.len()));
            if pass.known.is_empty() || query.k == 0 {
                continue;
            }
            rows += pass.push(model, at) + query.k.max(beams);
            if rows >= most {
                self.answer(queries, &mut answers)?;
                rows = 0;
            }
        }
        if self.pass.asked > 0 {
            self.answer(queries, &mut answers)?;
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(self.another())
    }

    fn set_threads(&mut self, threads: &Threads) -> usize {
        let (team, workspace) = team(threads);
        self.workspace = workspace;
        self.scratch = Workspace::with_team(Arc::clone(&team));
        team.threads()
    }

    fn illegal(&self) -> u64 {
        self.counters.illegal
    }
}
