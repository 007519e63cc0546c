//! A lazy decoder at work: context once per request, then one short step per level over all beams.
//!
//! In: queries, several at once. Out: items of the best semantic IDs. Earlier levels of a beam live as key and value
//! rows of the step that made them; a beam finds its own by the chain of its ancestors, and the context is read by all
//! beams of a request where it lies. Items the catalog does not have are skipped in a history.

use std::sync::Arc;

use recmesh_contract::{Candidate, Failure, ItemIndex, Query, Recommend};
use recmesh_kernels::{Packed, Span, Tape, Var, Workspace};

use super::super::pass::rows_per_pass;
use super::super::sequence::newest;
use super::context::{Context, Tokens};
use super::model::LazyDecoder;
use crate::decoding::{Ancestry, NodeSet, Options, Search};

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

/// One query under way.
struct Request<'a> {
    /// Place in the batch.
    at: usize,
    /// Its tokens.
    context: Span,
    search: Search<'a>,
}

/// Keys and values that decoder rows have left behind.
#[derive(Default)]
struct Memory {
    /// By layer, by level.
    rows: Vec<Vec<(Var, Var)>>,
    /// Rows of each level's step.
    sizes: Vec<usize>,
    /// For every current beam: its row in each level's step, oldest first.
    chains: Vec<Vec<u32>>,
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

    /// Answers the queries at `pass`, whose tokens are `spans`.
    fn pass(
        &mut self,
        queries: &[Query<'_>],
        pass: &[(usize, Span)],
        tokens: &Tokens,
        answers: &mut [Vec<Candidate>],
    ) -> Result<(), Failure> {
        let Self { model, packed, ancestry, live, workspace, scratch, counters, .. } = self;
        let decode = &model.config.decode;
        let options = Options { beams: decode.beams as usize, renormalise: decode.renormalise };
        let mut requests: Vec<Request<'_>> = Vec::new();
        for &(at, context) in pass {
            let search = Search::new(&model.catalog, ancestry, live.as_deref(), &queries[at], options);
            requests.push(Request { at, context, search });
        }
        let mut tape = Tape::serve_packed(&model.params, packed, workspace);
        let start = tape.mark();
        let context = model.context(&mut tape, tokens);
        let slices: Vec<Var> = context.slices.iter().flat_map(|&(key, value)| [key, value]).collect();
        tape.release(start, &slices);
        counters.contexts += requests.len() as u64;
        let mut memory = Memory { rows: vec![Vec::new(); model.layout.layers.len()], ..Memory::default() };
        memory.chains = vec![Vec::new(); requests.len()];
        for level in 0..model.levels() {
            let Some(hidden) = model.step(&mut tape, &context, tokens, &requests, level, &mut memory) else { break };
            score((model, packed), scratch, tape.value(hidden), level, &mut requests);
            memory.chains = descend(&mut requests, &memory.chains)?;
        }
        #[cfg(test)]
        {
            self.seen = slices.iter().flat_map(|&rows| tape.value(rows).to_vec()).collect();
        }
        for request in requests {
            let (answer, illegal) = request.search.finish();
            counters.illegal += illegal;
            answers[request.at] = answer;
        }
        Ok(())
    }
}

impl LazyDecoder {
    /// One decoder row per beam of every request: hidden rows, normed for the head of `level`. `None` without beams.
    fn step(
        &self,
        tape: &mut Tape<'_>,
        context: &Context,
        tokens: &Tokens,
        requests: &[Request<'_>],
        level: usize,
        memory: &mut Memory,
    ) -> Option<Var> {
        let (mut inputs, mut spans, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for Request { context, search, .. } in requests {
            for beam in search.beams() {
                let code = |level: usize| self.layout.starts[level] + search.code(beam);
                inputs.push(if level == 0 { self.layout.bos() } else { code(level - 1) });
                spans.push(*context);
                positions.push(context.end - context.start - 1);
            }
        }
        if inputs.is_empty() {
            return None;
        }
        memory.begin(inputs.len());
        let length = level as u32 + 1;
        let own: Vec<Span> =
            (0..inputs.len() as u32).map(|b| Span { start: b * length, end: (b + 1) * length }).collect();
        let chains = memory.flat();
        let start = tape.mark();
        let mut lasting = Vec::new();
        let x = tape.embed(self.layout.code, &inputs);
        let mut x = tape.scale(x, self.embedding_scale());
        for (layer, left) in self.layout.layers.iter().zip(&mut memory.rows) {
            let positions = (&positions[..], &tokens.positions[..]);
            x = self.shape.cross(tape, &layer.cross, x, context.slices[layer.slice], &spans, positions);
            let (normed, key, value) = self.shape.project(tape, &layer.own, x);
            left.push((key, value));
            let (keys, values): (Vec<Var>, Vec<Var>) = left.iter().copied().unzip();
            let (keys, values) = (tape.stack(&keys), tape.stack(&values));
            let (keys, values) = (tape.gather(keys, &chains), tape.gather(values, &chains));
            x = self.shape.attend(tape, &layer.own, x, (normed, keys, values), &own, None);
            x = self.shape.feed_forward(tape, &layer.ffn, x);
            lasting.extend([key, value]);
            tape.release(start, &[&lasting[..], &[x]].concat());
        }
        Some(tape.rms_norm(x, self.layout.head_norms[level]))
    }
}

impl Memory {
    /// Enters the rows of a new step: the current beams in order.
    fn begin(&mut self, rows: usize) {
        self.sizes.push(rows);
        for (row, chain) in (0u32..).zip(&mut self.chains) {
            chain.push(row);
        }
    }

    /// For every beam, its rows in the stack of all steps.
    fn flat(&self) -> Vec<u32> {
        let mut starts = vec![0u32];
        for &size in &self.sizes {
            starts.push(starts[starts.len() - 1] + size as u32);
        }
        self.chains.iter().flat_map(|chain| chain.iter().zip(&starts).map(|(row, start)| start + row)).collect()
    }
}

/// Offers every beam's children, a block of rows at a time; beams that can add nothing are left out.
fn score(
    (model, packed): (&LazyDecoder, &Packed),
    scratch: &mut Workspace,
    hidden: &[f32],
    level: usize,
    requests: &mut [Request<'_>],
) {
    let dim = model.config.d_model as usize;
    let codes = model.layout.codes(level);
    let mut row = 0;
    for request in requests {
        let beams = request.search.beams().len();
        for first in (0..beams).step_by(BLOCK_ROWS) {
            if request.search.hopeless(first) {
                break;
            }
            let block = first..(first + BLOCK_ROWS).min(beams);
            let mut tape = Tape::serve_packed(&model.params, packed, scratch);
            let x = tape.constant(block.len(), dim, &hidden[(row + block.start) * dim..(row + block.end) * dim]);
            let logits = tape.logits(x, model.layout.head, codes.clone());
            for (beam, logits) in block.zip(tape.value(logits).chunks_exact(codes.len())) {
                if request.search.hopeless(beam) {
                    break;
                }
                request.search.score(beam, logits);
            }
        }
        row += beams;
    }
}

/// Takes every request one level down; gives the chains of the new beams.
fn descend(requests: &mut [Request<'_>], chains: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, Failure> {
    let (mut next, mut row) = (Vec::new(), 0);
    for Request { search, .. } in requests {
        let before = search.beams().len();
        search.advance()?;
        next.extend(search.beams().iter().map(|beam| chains[row + beam.parent as usize].clone()));
        row += before;
    }
    Ok(next)
}

impl Recommend for Server {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let config = &self.model.config;
        let most = rows_per_pass(config.d_model, config.layers * self.model.levels() as u32);
        let mut answers = vec![Vec::new(); queries.len()];
        let (mut tokens, mut pass, mut rows) = (Tokens::default(), Vec::new(), 0);
        let mut known: Vec<ItemIndex> = Vec::new();
        for (at, query) in queries.iter().enumerate() {
            known.clear();
            known.extend(query.history.iter().filter(|&&item| (item as usize) < self.model.catalog.len()));
            if known.is_empty() || query.k == 0 {
                continue;
            }
            let span = tokens.push(newest(&known, self.model.config.context_length as usize));
            pass.push((at, span));
            rows += (span.end - span.start) as usize + query.k.max(self.model.config.decode.beams as usize);
            if rows >= most {
                self.pass(queries, &pass, &tokens, &mut answers)?;
                (tokens, pass, rows) = (Tokens::default(), Vec::new(), 0);
            }
        }
        if !pass.is_empty() {
            self.pass(queries, &pass, &tokens, &mut answers)?;
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(self.another())
    }

    fn illegal(&self) -> u64 {
        self.counters.illegal
    }
}
