//! Weights in the order in which serving reads them, beside the [`Params`] they come from.
//!
//! In: parameters, and which of them are linear maps, gated ones, or tables of classes. Out: copies packed once, as large
//! as the originals (rounded up to 64 outputs), for tapes made by [`Tape::serve_packed`](crate::Tape::serve_packed).
//! Whoever serves only may drop the originals. Maps that serve in eight bits are packed as such; what is only tried is
//! left as it is. Never changes a parameter.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::cpu::coded::{self, Coding};
use crate::cpu::panels::Panels;
use crate::{ParamId, Params};

/// Packed weights of a model.
#[derive(Debug, Default)]
pub struct Packed {
    maps: BTreeMap<ParamId, Map>,
    /// By table and first class.
    classes: BTreeMap<(ParamId, usize), Panels>,
}

/// A packed linear map.
#[derive(Debug)]
pub(crate) enum Map {
    F32(Panels),
    Coded(coded::Panels),
}

impl Packed {
    /// Packs linear maps `[out, in]`: `plain` ones, and `gated` ones whose outputs are gates, then values (for
    /// [`Tape::linear_swiglu`](crate::Tape::linear_swiglu) alone).
    #[must_use]
    pub fn new(params: &Params, plain: &[ParamId], gated: &[ParamId]) -> Self {
        let maps = plain.iter().map(|&id| (id, false)).chain(gated.iter().map(|&id| (id, true)));
        let maps = maps.filter_map(|(id, gated)| {
            let tensor = params.get(id);
            let map = match params.quantised(id) {
                None => Map::F32(Panels::new(&tensor.data, tensor.rows, tensor.cols, gated)),
                Some(linear) if linear.serves() => Map::Coded(linear.weights().panels(gated)),
                Some(_) => return None,
            };
            Some((id, map))
        });
        Self { maps: maps.collect(), classes: BTreeMap::new() }
    }

    /// Packs some rows of a table for [`Tape::logits`](crate::Tape::logits) over just these.
    pub fn add_classes(&mut self, params: &Params, table: ParamId, classes: Range<usize>) {
        let tensor = params.get(table);
        let rows = &tensor.data[classes.start * tensor.cols..classes.end * tensor.cols];
        self.classes.insert((table, classes.start), Panels::new(rows, classes.len(), tensor.cols, false));
    }

    /// The linear maps that are packed.
    pub fn maps(&self) -> impl Iterator<Item = ParamId> {
        self.maps.keys().copied()
    }

    /// How rows are coded that these maps read, where all are in eight bits of one kind.
    pub(crate) fn coding(&self, maps: &[ParamId]) -> Option<Coding> {
        let coding = |id: &ParamId| match self.map(*id)? {
            Map::Coded(panels) => Some(panels.coding()),
            Map::F32(_) => None,
        };
        let first = coding(maps.first()?)?;
        maps.iter().all(|id| coding(id) == Some(first)).then_some(first)
    }

    pub(crate) fn map(&self, id: ParamId) -> Option<&Map> {
        self.maps.get(&id)
    }

    pub(crate) fn classes(&self, table: ParamId, classes: &Range<usize>) -> Option<&Panels> {
        self.classes.get(&(table, classes.start)).filter(|panels| panels.width() == classes.len())
    }
}
