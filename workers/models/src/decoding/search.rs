//! One query's beam search over the trie.
//!
//! In: for every beam of a level, logits over the level's whole codebook. Out: the best beams of the next level, at the
//! end the items of the best leaves. Scores are log-probabilities of the path, under the softmax over the codebook or,
//! when renormalised, over the children that exist.
//!
//! ## Root => (Beams of depth 1 => … => Beams of the last depth)
//! Each arrow is: every [`score`](Search::score) of the current beams, then one [`advance`](Search::advance).

use recmesh_catalog::{Catalog, Trie};
use recmesh_contract::{Candidate, Failure, ItemIndex, Query, Ties};
use recmesh_kernels::topk::{TopK, largest, log_sum_exp, sum_exp};

use super::alive::{Alive, Ancestry, NodeSet, members};
use crate::answer::{Filter, collector, not_a_number};

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
pub struct Search<'a> {
    trie: Trie<'a>,
    ancestry: &'a Ancestry,
    filter: Filter<'a>,
    alive: Alive<'a>,
    renormalise: bool,
    width: usize,
    k: usize,
    ties: Ties,
    depth: usize,
    beams: Vec<Beam>,
    next: TopK,
    /// Logits of a beam's children.
    offered: Vec<f32>,
}

impl<'a> Search<'a> {
    /// A search at the root. `live` is the set of nodes above the catalog's live items, `None` when all are live.
    #[must_use]
    pub fn new(
        catalog: &'a Catalog,
        ancestry: &'a Ancestry,
        live: Option<&'a NodeSet>,
        query: &Query<'a>,
        options: Options,
    ) -> Self {
        let trie = catalog.trie();
        let filter = Filter::new(query, Some(catalog));
        let items = catalog.len();
        let allowed = query.allowed.map(|mask| members(mask, items).filter(|&item| filter.passes(item)));
        let known = query.exclude.partition_point(|&item| (item as usize) < items);
        let alive = Alive::new(&trie, ancestry, live, allowed, &query.exclude[..known], &|item| filter.passes(item));
        let width = options.beams.max(query.k);
        let renormalise = options.renormalise;
        let beams = vec![Beam { node: 0, score: 0.0, parent: 0 }];
        let (k, ties) = (query.k, query.ties);
        let next = next_beams(&trie, 0, (width, k), ties);
        Self { trie, ancestry, filter, alive, renormalise, width, k, ties, depth: 0, beams, next, offered: Vec::new() }
    }

    /// The beams of the current depth, best first. Empty once nothing can be answered.
    #[must_use]
    pub fn beams(&self) -> &[Beam] {
        &self.beams
    }

    /// The code by which a beam came to its node: what the model reads next.
    #[must_use]
    pub fn code(&self, beam: &Beam) -> u32 {
        self.trie.codes(self.depth)[beam.node as usize]
    }

    /// Whether no child of the beam at this place can come among the next beams any more. Beams are best first and
    /// probabilities at most 1, so what holds for one holds for all after it.
    #[must_use]
    pub fn hopeless(&self, beam: usize) -> bool {
        self.beams[beam].score < self.next.threshold()
    }

    /// Offers the children of a beam. `logits` cover the codebook of the level below; they need not be read to their end
    /// once no child can enter.
    pub fn score(&mut self, beam: usize, logits: &[f32]) {
        let Beam { node, score, .. } = self.beams[beam];
        let (below, codes) = (self.depth + 1, self.trie.codes(self.depth + 1));
        let children = self.trie.children(self.depth, node);
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
            if !hopeless && self.alive.contains(below, child) {
                // At the last depth ties are those of items, so the leaf goes by the name of its first answer.
                let label = if below == self.trie.levels() { self.answers(child).next() } else { Some(child) };
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
    pub fn advance(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        let next = next_beams(&self.trie, self.depth, (self.width, self.k), self.ties);
        let best = std::mem::replace(&mut self.next, next);
        if best.saw_nan() {
            return Err(not_a_number());
        }
        let mut places: Vec<(u32, u32)> = (0u32..).zip(&self.beams).map(|(at, beam)| (beam.node, at)).collect();
        places.sort_unstable();
        let mut beams = Vec::new();
        for (score, label) in best.into_sorted() {
            let node = if self.depth == self.trie.levels() { self.trie.leaf_of(label) } else { label };
            let parent = self.ancestry.parent(self.depth, node);
            if let Ok(at) = places.binary_search_by_key(&parent, |&(node, _)| node) {
                beams.push(Beam { node, score, parent: places[at].1 });
            }
        }
        self.beams = beams;
        Ok(())
    }

    /// Whether there is a node that must not be walked, or a leaf that goes by another name than its first item's.
    #[must_use]
    pub fn restricted(&self) -> bool {
        self.alive.restricts() || self.filter.restricts()
    }

    /// Bits of the nodes of `depth` (1 or more) that may be walked, lowest first.
    pub fn bits(&self, depth: usize, to: &mut Vec<u32>) {
        self.alive.bits(depth, self.trie.size(depth), to);
    }

    /// The name of a leaf among leaves of equal score: its first answer.
    #[must_use]
    pub fn label(&self, leaf: u32) -> Option<ItemIndex> {
        self.answers(leaf).next()
    }

    /// Ends a search that somebody else has made: leaves with their scores, best first.
    #[must_use]
    pub fn end(mut self, leaves: impl Iterator<Item = (u32, f32)>) -> (Vec<Candidate>, u64) {
        self.depth = self.trie.levels();
        self.beams = leaves.map(|(node, score)| Beam { node, score, parent: 0 }).collect();
        self.finish()
    }

    /// The items of the final beams, best first, and how many beams named none. Items that share an ID come one after
    /// another, most popular first.
    #[must_use]
    pub fn finish(self) -> (Vec<Candidate>, u64) {
        let mut answer = Vec::new();
        let mut illegal = 0;
        for beam in &self.beams {
            illegal += u64::from(self.depth != self.trie.levels() || self.trie.items(beam.node).is_empty());
            let items = self.answers(beam.node);
            answer.extend(items.map(|item| Candidate { item, score: beam.score, tasks: Vec::new() }));
            if answer.len() >= self.k {
                break;
            }
        }
        answer.truncate(self.k);
        (answer, illegal)
    }

    /// The items of a leaf that may be answered.
    fn answers(&self, leaf: u32) -> impl Iterator<Item = ItemIndex> {
        self.trie.items(leaf).iter().copied().filter(|&item| self.filter.passes(item))
    }
}

/// A collector for the beams below `depth`: as many as asked for, at the end no more than answers, since every final beam
/// holds at least one.
fn next_beams(trie: &Trie<'_>, depth: usize, (width, k): (usize, usize), ties: Ties) -> TopK {
    let below = (depth + 1).min(trie.levels());
    let (width, ties) = if below == trie.levels() { (k, ties) } else { (width, Ties::ByIndex) };
    collector(width, trie.size(below) as usize, ties)
}

/// How large `Σ e^(x − best)` must be for a beam's best child to fall below the threshold, with room for roundings. As
/// a share of the score's own size they are some 1e-7; a thousandth of a nat more costs nothing.
fn enough(score: f32, best: f32, threshold: f32) -> f32 {
    let room = 1e-3 + 1e-5 * (score.abs() + best.abs() + threshold.abs());
    let limit = (score - threshold + room).exp();
    if limit.is_nan() { f32::INFINITY } else { limit }
}
