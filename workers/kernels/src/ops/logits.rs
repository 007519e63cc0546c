//! Scores of classes, for serving.
//!
//! In: rows and a range of a table. Out: `[rows, classes]`. There is no way back: losses fuse this product.

use std::ops::Range;

use crate::ParamId;
use crate::cpu::matmul::{Output, View, gemm};
use crate::cpu::panels::{Then, shared_product};
use crate::graph::{Amount, Forward, Value, Var};

/// `x · table[classes]ᵀ`.
pub(crate) fn forward(f: &mut Forward<'_>, x: Var, id: ParamId, classes: Range<usize>) -> Value {
    let (x, table) = (f.value(x), f.params.get(id));
    assert_eq!(x.cols, table.cols, "columns of rows and table {}", table.name);
    let mut out = f.output(x.rows, classes.len(), false);
    if let Some(panels) = f.packed.and_then(|packed| packed.classes(id, &classes)) {
        let team = f.team(Amount::product(x.rows, x.cols * out.cols));
        shared_product(team, f.level, &mut out.data, &x.data, panels, Then::NOTHING);
        return out;
    }
    let rows = &table.data[classes.start * table.cols..classes.end * table.cols];
    let classes = View::new(rows, classes.len(), table.cols);
    gemm(&mut out.data, Output::Write, 1.0, View::new(&x.data, x.rows, x.cols), classes.t());
    out
}
