//! The context processor: histories become keys and values, once.
//!
//! In: histories one after another. Out: for every slice a key and a value row per token. A token depends only on
//! itself and, with context blocks, on those before it: any prefix of the rows is the context of that prefix.

use recmesh_contract::ItemIndex;
use recmesh_kernels::{Span, Tape, Var};

use super::blocks::Distance;
use super::model::LazyDecoder;

/// Tokens of histories, one history after another.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    items: Vec<u32>,
    /// Place of a token in its history.
    pub positions: Vec<u32>,
    /// The token itself and those before it in its history.
    pub spans: Vec<Span>,
}

impl Tokens {
    /// Adds a history; gives the rows it lies in.
    pub(super) fn push(&mut self, history: &[ItemIndex]) -> Span {
        let start = self.items.len() as u32;
        for (position, &item) in (0u32..).zip(history) {
            self.items.push(item);
            self.positions.push(position);
            self.spans.push(Span { start, end: start + position + 1 });
        }
        Span { start, end: self.items.len() as u32 }
    }

    pub(super) fn rows(&self) -> usize {
        self.items.len()
    }
}

/// Keys and values `[tokens, groups · head width]` of every slice.
#[derive(Debug)]
pub(super) struct Context {
    pub slices: Vec<(Var, Var)>,
}

impl LazyDecoder {
    pub(super) fn context(&self, tape: &mut Tape<'_>, tokens: &Tokens) -> Context {
        let levels = self.levels();
        let mut codes = Vec::with_capacity(tokens.rows() * levels);
        for &item in &tokens.items {
            codes.extend_from_slice(self.path(item));
        }
        let offsets: Vec<u32> = (0..=tokens.rows()).map(|row| (row * levels) as u32).collect();
        let start = tape.mark();
        let mut x = tape.embed_bag(self.layout.code, &codes, &offsets, false);
        if let Some(table) = self.layout.item {
            let items = tape.embed(table, &tokens.items);
            x = tape.add(x, items);
        }
        x = tape.scale(x, self.embedding_scale());
        x = tape.dropout(x, self.shape.dropout);
        for block in &self.layout.context {
            let projected = self.shape.project(tape, &block.attention, x);
            let distance = Distance { table: block.bias, query: &tokens.positions, key: &tokens.positions };
            x = self.shape.attend(tape, &block.attention, x, projected, &tokens.spans, Some(distance));
            x = self.shape.feed_forward(tape, &block.ffn, x);
            tape.release(start, &[x]);
        }
        let kv = tape.linear(x, self.layout.kv, None);
        let split = self.config.kv_split as usize;
        let width = tape.shape(kv).1 / (self.layout.slices.len() * split);
        let part = |tape: &mut Tape<'_>, at: usize| tape.columns(kv, at * width..(at + 1) * width);
        let slices = self.layout.slices.iter().enumerate().map(|(at, slice)| {
            let key = part(tape, at * split);
            let key = tape.rms_norm(key, slice.key);
            let value = match slice.value {
                None => key,
                Some(norm) => {
                    let value = part(tape, at * split + 1);
                    tape.rms_norm(value, norm)
                }
            };
            (key, value)
        });
        Context { slices: slices.collect() }
    }
}
