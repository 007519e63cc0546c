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
    /// Rows of the items' codes in the code table, and where each item's begin; one entry more than there are items.
    codes: Vec<u32>,
    offsets: Vec<u32>,
    /// Place of a token in its history.
    pub positions: Vec<u32>,
    /// The token itself and those before it in its history.
    pub spans: Vec<Span>,
}

impl Tokens {
    /// Empty again, with the memory it has.
    pub(super) fn clear(&mut self) {
        let Self { items, codes, offsets, positions, spans } = self;
        items.clear();
        codes.clear();
        offsets.clear();
        positions.clear();
        spans.clear();
    }
}

/// Keys and values `[tokens, groups · head width]` of every slice.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub slices: Vec<[Var; 2]>,
}

impl LazyDecoder {
    /// Adds a history to the tokens; gives the rows it lies in.
    pub(super) fn push_history(&self, tokens: &mut Tokens, history: &[ItemIndex]) -> Span {
        let Tokens { items, codes, offsets, positions, spans } = tokens;
        let start = items.len() as u32;
        if offsets.is_empty() {
            offsets.push(0);
        }
        for (position, &item) in (0u32..).zip(history) {
            items.push(item);
            codes.extend_from_slice(self.path(item));
            offsets.push(codes.len() as u32);
            positions.push(position);
            spans.push(Span { start, end: start + position + 1 });
        }
        Span { start, end: items.len() as u32 }
    }

    /// Computes the context of some tokens; what `context` held before is forgotten.
    pub(super) fn context(&self, tape: &mut Tape<'_>, tokens: &Tokens, context: &mut Context) {
        let start = tape.mark();
        let mut x = tape.embed_bag(self.layout.code, &tokens.codes, &tokens.offsets, false);
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
            [key, value]
        });
        context.slices.clear();
        context.slices.extend(slices);
    }
}
