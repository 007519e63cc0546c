//! A beam search over the trie, for one query after another.
//!
//! In: the query's paths; for every beam of a level, logits over the level's whole codebook. Out: the best beams of the next level, at the
//! end the items of the best leaves. Scores are log-probabilities of the path, under the softmax over the codebook or,
//! when renormalised, over the children that exist. A search keeps its memory, as much as its largest query took.
//!
//! ## Root => (Beams of depth 1 => … => Beams of the last depth => Root of the next query)
//! [`begin`](Search::begin) puts it at the root. Each arrow but the last is: every [`score`](Search::score) of the current
//! beams, then one [`advance`](Search::advance); all with the paths of the query that it began with.

use recmesh_catalog::Trie;
use recmesh_contract::{Candidate, Failure, Ties};
use recmesh_kernels::topk::{TopK, largest, log_sum_exp, sum_exp};

use super::alive::Alive;
use super::paths::Paths;
use crate::answer::{not_a_number, reset};

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Width of the beam; a query that asks for more items gets a wider one.
    pub beams: usize,
    /// Whether probabilities are taken over existing children only.
    pub renormalise: bool,
}

/// A path from the root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// The node it has come to.
    pub node: u32,
    /// Log-probability of the path.
    pub score: f32,
    /// Which beam of the level before it continues.
    pub parent: u32,
}

/// A search under way.
#[derive(Debug, Default)]
pub struct Search {
    alive: Alive,
    renormalise: bool,
    width: usize,
    depth: usize,
    beams: Vec<Beam>,
    next: TopK,
    /// Logits of a beam's children.
    offered: Vec<f32>,
    /// Nodes of the beams with their places, in the order of the nodes.
    places: Vec<(u32, u32)>,
}

impl Search {
    /// Goes to the root of a query's paths.
    pub fn begin(&mut self, paths: &Paths<'_>, options: Options) {
        self.alive.begin(paths);
        (self.renormalise, self.width) = (options.renormalise, options.beams.max(paths.k));
        self.depth = 0;
        self.beams.clear();
        self.beams.push(Beam { node: 0, score: 0.0, parent: 0 });
        self.collect(paths);
    }

    /// Makes room for the beams below the current depth: as many as asked for, at the end no more than answers, since
    /// every final beam holds at least one.
    fn collect(&mut self, paths: &Paths<'_>) {
        let levels = paths.trie.levels();
        let below = (self.depth + 1).min(levels);
        let (width, ties) = if below == levels { (paths.k, paths.ties) } else { (self.width, Ties::ByIndex) };
        reset(&mut self.next, width, paths.trie.size(below) as usize, ties);
    }

    /// The beams of the current depth, best first. Empty once nothing can be answered.
    #[must_use]
    pub fn beams(&self) -> &[Beam] {
        &self.beams
    }

    /// The code by which a beam came to its node: what the model reads next.
    #[must_use]
    pub fn code(&self, trie: &Trie<'_>, beam: &Beam) -> u32 {
        trie.codes(self.depth)[beam.node as usize]
    }

    /// Whether no child of the beam at this place can come among the next beams any more. Beams are best first and
    /// probabilities at most 1, so what holds for one holds for all after it.
    #[must_use]
    pub fn hopeless(&self, beam: usize) -> bool {
        self.beams[beam].score < self.next.threshold()
    }

    /// Offers the children of a beam. `logits` cover the codebook of the level below; they need not be read to their end
    /// once no child can enter.
    pub fn score(&mut self, paths: &Paths<'_>, beam: usize, logits: &[f32]) {
        let Beam { node, score, .. } = self.beams[beam];
        let (below, codes) = (self.depth + 1, paths.trie.codes(self.depth + 1));
        let children = paths.trie.children(self.depth, node);
        self.offered.clear();
        let own = &codes[children.start as usize..children.end as usize];
        self.offered.extend(own.iter().map(|&code| logits[code as usize]));
        let counted = if self.renormalise { &self.offered } else { logits };
        let (best, least) = (largest(&self.offered), self.next.threshold());
        let enough = enough(score, best, least);
        let sum = sum_exp(counted, best, enough);
        if sum > enough {
            return;
        }
        // What cannot be told from the best child, because it is not a number or far below, is told from the largest.
        let total = if sum.is_finite() { best + sum.ln() } else { log_sum_exp(counted) };
        for (child, &logit) in children.zip(&self.offered) {
            let score = score + (logit - total);
            let hopeless = score < self.next.threshold();
            if !hopeless && self.alive.contains(paths, below, child) {
                // At the last depth ties are those of items, so the leaf goes by the name of its first answer.
                let label = if below == paths.trie.levels() { paths.label(child) } else { Some(child) };
                if let Some(label) = label {
                    self.next.push(score, label);
                }
            }
        }
    }

    /// Goes one level down, to the best children offered.
    ///
    /// # Errors
    /// [`recmesh_contract::reason::NOT_A_NUMBER`] when a score was none.
    pub fn advance(&mut self, paths: &Paths<'_>) -> Result<(), Failure> {
        self.depth += 1;
        if self.next.saw_nan() {
            return Err(not_a_number());
        }
        let Self { beams, places, next, depth, .. } = self;
        places.clear();
        places.extend((0u32..).zip(&*beams).map(|(at, beam)| (beam.node, at)));
        places.sort_unstable();
        beams.clear();
        for (score, label) in next.drain_sorted() {
            let node = if *depth == paths.trie.levels() { paths.trie.leaf_of(label) } else { label };
            let parent = paths.ancestry.parent(*depth, node);
            if let Ok(at) = places.binary_search_by_key(&parent, |&(node, _)| node) {
                beams.push(Beam { node, score, parent: places[at].1 });
            }
        }
        self.collect(paths);
        Ok(())
    }

    /// Whether there is a node that must not be walked, or a leaf that goes by another name than its first item's.
    #[must_use]
    pub fn restricted(&self, paths: &Paths<'_>) -> bool {
        self.alive.restricts(paths) || paths.filter.restricts()
    }

    /// Bits of the nodes of `depth` (1 or more) that may be walked, lowest first.
    pub fn bits(&self, paths: &Paths<'_>, depth: usize, to: &mut Vec<u32>) {
        self.alive.bits(paths, depth, to);
    }

    /// Ends a search that somebody else has made: leaves with their scores, best first. As [`finish`](Self::finish).
    pub fn end(&mut self, paths: &Paths<'_>, leaves: impl Iterator<Item = (u32, f32)>) -> (Vec<Candidate>, u64) {
        self.depth = paths.trie.levels();
        self.beams.clear();
        self.beams.extend(leaves.map(|(node, score)| Beam { node, score, parent: 0 }));
        self.finish(paths)
    }

    /// The items of the final beams, best first, and how many beams named none. Items that share an ID come one after
    /// another, most popular first. The answer is as long as it has room for.
    #[must_use]
    pub fn finish(&self, paths: &Paths<'_>) -> (Vec<Candidate>, u64) {
        let named = |beam: &Beam| paths.answers(beam.node).count();
        let mut answer = Vec::with_capacity(self.beams.iter().map(named).sum::<usize>().min(paths.k));
        let mut illegal = 0;
        for beam in &self.beams {
            illegal += u64::from(self.depth != paths.trie.levels() || paths.trie.items(beam.node).is_empty());
            let items = paths.answers(beam.node).take(paths.k - answer.len());
            answer.extend(items.map(|item| Candidate { item, score: beam.score, tasks: Vec::new() }));
            if answer.len() == paths.k {
                break;
            }
        }
        (answer, illegal)
    }
}

/// How large `Σ e^(x − best)` must be for a beam's best child to fall below the threshold, with room for roundings. As
/// a share of the score's own size they are some 1e-7; a thousandth of a nat more costs nothing.
fn enough(score: f32, best: f32, threshold: f32) -> f32 {
    let room = 1e-3 + 1e-5 * (score.abs() + best.abs() + threshold.abs());
    let limit = (score - threshold + room).exp();
    if limit.is_nan() { f32::INFINITY } else { limit }
}
