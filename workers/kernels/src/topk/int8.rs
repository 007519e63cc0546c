//! Exact inner-product search that reads a table of bytes and a few rows of f32.
//!
//! ```text
//! table ─► Int8Table ─► integer products ─► upper bound of each product ─► rows that may enter ─► f32 ─► collectors
//! ```
//! In: a table, queries, collectors. Out: the same best rows as an f32 scan finds. A row `x` is held as `s·c` with codes
//! `c` in `−127..=127`, its norm and the norm of `x − s·c`; so is a query. By Cauchy and Schwarz `q·x` differs from the
//! product of codes by at most `‖q − q̃‖·‖x‖ + ‖q̃‖·‖x − x̃‖`. A row is multiplied in f32 only when its upper bound reaches
//! the k-th best lower bound; nothing else can be among the best. Rows and queries that hold an infinity or NaN have no
//! bound and are always multiplied. Integer products are the same in bits at every level.

use super::{TieOrder, TopK, offer_products, products};
use crate::cpu::{Level, kernel, reduce};

use products::{Dot, GROUP, LANES, STEP};

/// A table as codes of one byte beside what bounds their error. It holds no f32 rows: the search is given them again.
#[derive(Clone, Debug)]
pub struct Int8Table {
    dim: usize,
    rows: usize,
    /// Groups of [`GROUP`] rows; in a group, for every [`STEP`] columns, those of each row: code + 128.
    codes: Vec<u8>,
    bounds: Vec<RowBounds>,
}

/// A group's scales, norms and errors.
#[derive(Clone, Copy, Debug)]
struct RowBounds {
    scale: [f32; GROUP],
    /// `‖x‖`, rounded up; infinite for a row that is not finite.
    norm: [f32; GROUP],
    /// `‖x − s·c‖`, rounded up.
    error: [f32; GROUP],
}

/// Codes of one vector, with its scale, norm and error.
struct Coded {
    codes: Vec<i8>,
    scale: f32,
    norm: f32,
    error: f32,
}

/// What one query brings to the sifting of a group.
#[derive(Clone, Copy, Debug)]
struct Asked {
    scale: f32,
    /// `‖q̃‖`.
    norm: f32,
    /// `‖q − q̃‖` and the rounding of sums, as a share of the row's norm.
    error: f32,
    /// `128 · Σ c`, which the offset of the table's codes adds to every product.
    offset: i32,
}

/// A query's rows that may be among its best.
#[derive(Debug)]
struct Candidates {
    /// The best lower bounds.
    floor: TopK,
    /// Upper bounds with rows.
    rows: Vec<(f32, u32)>,
    /// How many rows there may be before those below the floor are let go.
    most: usize,
}

/// Norms are sums in f64, so this covers their rounding to f32 and their products.
const UP: f64 = 1.0 + 1e-6;
/// Candidates kept before those that have fallen below the floor are let go, at the start.
const MOST: usize = 4096;
/// Covers the roundings of a spread.
const SLACK: f32 = 1.0 + 1e-6;
/// Covers what numbers near the smallest lose.
const TINY: f32 = 1e-35;
/// Queries of a block: their products with a group are 12 KiB.
const BLOCK: usize = 48;

impl Coded {
    fn new(x: &[f32]) -> Self {
        let largest = x.iter().fold(0.0_f32, |largest, x| if x.is_nan() { f32::NAN } else { largest.max(x.abs()) });
        let finite = x.iter().all(|x| x.is_finite());
        if !finite {
            return Self { codes: vec![0; x.len()], scale: 0.0, norm: f32::INFINITY, error: f32::INFINITY };
        }
        let scale = largest / 127.0;
        // Below the smallest normal number a quotient loses its precision; the error then is the row itself.
        let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        let codes: Vec<i8> = x.iter().map(|x| (x * inverse).round_ties_even() as i8).collect();
        let norm = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let left = |(&x, &code): (&f32, &i8)| (f64::from(x) - f64::from(scale) * f64::from(code)).powi(2);
        let error = x.iter().zip(&codes).map(left).sum::<f64>().sqrt();
        // Among denormals a rounding is more than `UP` makes up for.
        let above = |exact: f64| ((exact * UP) as f32).next_up();
        Self { codes, scale, norm: above(norm), error: above(error) }
    }
}

impl Int8Table {
    /// Codes of `rows × dim` values.
    ///
    /// # Panics
    /// If the slice is not a whole number of rows, or a row has more than 65,536 columns: sums must fit into 32 bits.
    #[must_use]
    pub fn new(table: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && table.len().is_multiple_of(dim), "rows of {dim} columns");
        assert!(dim <= 1 << 16, "{dim} columns of eight bits");
        let (rows, steps) = (table.len() / dim, dim.div_ceil(STEP));
        let padded = rows.next_multiple_of(GROUP);
        // A code of zero, which is what padding holds.
        let mut codes = vec![128; padded * steps * STEP];
        let zeros = [0.0; GROUP];
        let mut bounds = vec![RowBounds { scale: zeros, norm: zeros, error: zeros }; padded / GROUP];
        for (row, x) in table.chunks_exact(dim).enumerate() {
            let coded = Coded::new(x);
            let group = &mut codes[row / GROUP * GROUP * steps * STEP..][..GROUP * steps * STEP];
            for (column, &code) in coded.codes.iter().enumerate() {
                let place = column / STEP * GROUP * STEP + row % GROUP * STEP + column % STEP;
                group[place] = code.cast_unsigned() ^ 128;
            }
            let (bounds, row) = (&mut bounds[row / GROUP], row % GROUP);
            (bounds.scale[row], bounds.norm[row], bounds.error[row]) = (coded.scale, coded.norm, coded.error);
        }
        Self { dim, rows, codes, bounds }
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(&self.bounds[..])
    }

    /// Offers to each query's collector all rows that can enter it and that `skip(query, row)` does not exclude, with
    /// their products in f32. `table` is what the codes were made of. Gives back how many products in f32 it took.
    ///
    /// What a collector holds at the end differs from that after [`offer_products`] by rounding only: there products
    /// are summed in another order.
    ///
    /// # Panics
    /// If `queries` is not a whole number of rows, `table` has another size, or there are not as many collectors as
    /// query rows.
    pub fn offer(
        &self,
        queries: &[f32],
        table: &[f32],
        found: &mut [TopK],
        skip: &dyn Fn(usize, u32) -> bool,
    ) -> usize {
        self.offer_at(Level::detect(), Dot::detect(), queries, table, found, skip)
    }

    pub(super) fn offer_at(
        &self,
        level: Level,
        dot: Dot,
        queries: &[f32],
        table: &[f32],
        found: &mut [TopK],
        skip: &dyn Fn(usize, u32) -> bool,
    ) -> usize {
        let dim = self.dim;
        assert_eq!(table.len(), self.rows * dim, "the table of {} rows of {dim} columns", self.rows);
        assert_eq!(queries.len(), found.len() * dim, "one collector a query of {dim} columns");
        let mut exact = 0;
        let blocks = queries.chunks(dim * BLOCK).zip(found.chunks_mut(BLOCK));
        for (first, (queries, found)) in (0..).step_by(BLOCK).zip(blocks) {
            let skip = |query: usize, row: u32| skip(first + query, row);
            exact += self.block(level, dot, queries, table, found, &skip);
        }
        exact
    }

    /// A block of queries against all groups.
    fn block(
        &self,
        level: Level,
        dot: Dot,
        queries: &[f32],
        table: &[f32],
        found: &mut [TopK],
        skip: &dyn Fn(usize, u32) -> bool,
    ) -> usize {
        let (dim, steps) = (self.dim, self.dim.div_ceil(STEP));
        let coded: Vec<Coded> = queries.chunks_exact(dim).map(Coded::new).collect();
        let asked: Vec<Asked> = coded.iter().map(|query| Asked::new(query, dim)).collect();
        let words = products::interleave(coded.iter().map(|query| &query.codes[..]), steps);
        let mut candidates: Vec<Candidates> = found
            .iter()
            .map(|top| Candidates { floor: TopK::new(top.k, TieOrder::ByIndex), rows: Vec::new(), most: MOST })
            .collect();
        let mut products = vec![[0; GROUP]; found.len()];
        for (group, codes) in self.codes.chunks_exact(GROUP * steps * STEP).enumerate() {
            products::multiply(dot, &mut products, codes, &words, steps);
            let rows = group * GROUP..(group * GROUP + GROUP).min(self.rows);
            for (query, products) in products.iter().enumerate() {
                let at = Sift { level, asked: asked[query], bounds: &self.bounds[group], rows: rows.clone() };
                at.sift(products, &mut candidates[query], found[query].threshold(), &|row| skip(query, row));
            }
        }
        let mut exact = 0;
        for (query, (top, mine)) in found.iter_mut().zip(&mut candidates).enumerate() {
            let of = &queries[query * dim..][..dim];
            if !asked[query].norm.is_finite() {
                // Nothing bounds these products.
                offer_products(of, table, dim, std::slice::from_mut(top), &|_, row| skip(query, row));
                exact += self.rows;
                continue;
            }
            let floor = mine.floor.threshold().max(top.threshold());
            mine.keep(floor);
            // The best bounds first, so that the rest falls below what was found. NaN counts as the best.
            mine.rows.sort_unstable_by(|a, b| f32::total_cmp(&b.0.abs_nan(), &a.0.abs_nan()).then(a.1.cmp(&b.1)));
            for &(upper, row) in &mine.rows {
                if upper < top.threshold() {
                    break;
                }
                if !skip(query, row) {
                    let score = reduce::dot(level, of, &table[row as usize * dim..][..dim]);
                    top.push(score, row);
                    exact += 1;
                }
            }
        }
        exact
    }
}

/// NaN as the positive one, which `total_cmp` puts above infinity.
trait AbsNan {
    fn abs_nan(self) -> Self;
}

impl AbsNan for f32 {
    fn abs_nan(self) -> Self {
        if self.is_nan() { f32::NAN } else { self }
    }
}

impl Asked {
    fn new(query: &Coded, dim: usize) -> Self {
        // Sums of `dim` products in f32, wherever they are taken, err by less than this share of ‖q‖·‖x‖.
        let rounding = (dim + 8) as f64 * f64::from(f32::EPSILON);
        let held = f64::from(query.norm) + f64::from(query.error);
        Self {
            scale: query.scale,
            norm: (held * UP) as f32,
            error: ((f64::from(query.error) + rounding * held) * UP) as f32,
            offset: 128 * query.codes.iter().map(|&code| i32::from(code)).sum::<i32>(),
        }
    }
}

impl Candidates {
    /// Lets go of what lies below the floor; NaN stays.
    fn keep(&mut self, floor: f32) {
        self.rows.retain(|&(upper, _)| upper.is_nan() || upper >= floor);
    }
}

/// One query at one group.
struct Sift<'a> {
    level: Level,
    asked: Asked,
    bounds: &'a RowBounds,
    rows: std::ops::Range<usize>,
}

impl Sift<'_> {
    /// Takes in the rows whose upper bound reaches the floor.
    fn sift(self, products: &[i32; GROUP], mine: &mut Candidates, least: f32, skip: &dyn Fn(u32) -> bool) {
        let (mut middle, mut spread) = ([0.0; GROUP], [0.0; GROUP]);
        let mut floor = mine.floor.threshold().max(least);
        let reaching = reaching(self.level, (&mut middle, &mut spread), products, self.bounds, self.asked, floor);
        for (at, row) in (self.rows.start as u32..self.rows.end as u32).enumerate() {
            if !reaching[at / LANES] {
                continue;
            }
            let upper = middle[at] + spread[at];
            if upper < floor {
                continue;
            }
            let lower = middle[at] - spread[at];
            // A row without a bound says nothing of the floor.
            if lower.is_finite() && lower >= floor && !skip(row) {
                mine.floor.push(lower, row);
                floor = mine.floor.threshold().max(least);
            }
            mine.rows.push((upper, row));
        }
        if mine.rows.len() > mine.most {
            mine.keep(floor);
            mine.most = MOST.max(2 * mine.rows.len());
        }
    }
}

kernel! {
    /// The products of codes as numbers, and how far the exact ones may lie from them. Which registers hold a row whose
    /// exact product may be at least `floor`, or is not a number.
    fn reaching<S>(
        out: (&mut [f32; GROUP], &mut [f32; GROUP]),
        products: &[i32; GROUP],
        rows: &RowBounds,
        asked: Asked,
        floor: f32,
    ) -> [bool; GROUP / LANES] {
        let (middle, spread) = out;
        let mut reaching = [false; GROUP / LANES];
        for (part, reaching) in reaching.iter_mut().enumerate() {
            let mut any = 0_u32;
            for at in part * LANES..(part + 1) * LANES {
                let product = (products[at] - asked.offset) as f32;
                middle[at] = product * (rows.scale[at] * asked.scale);
                spread[at] = (asked.norm * rows.error[at] + asked.error * rows.norm[at]) * SLACK + TINY;
                // NaN must count as reaching, hence no `>=`.
                #[allow(clippy::neg_cmp_op_on_partial_ord)]
                let reaches = !(middle[at] + spread[at] < floor);
                any |= u32::from(reaches);
            }
            *reaching = any != 0;
        }
        reaching
    }
}

#[cfg(test)]
mod tests;
