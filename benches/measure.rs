//! Times the sides of a comparison against each other and keeps what they took.
//!
//! In: named closures that do the same work. Out: rows with the median of several rounds. All sides of a comparison run
//! in one go and take turns, a round each, so that what else the machine does falls on all of them. Never judges
//! whether the sides agree: the cases check that before they are timed.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

/// A round lasts at least this long; shorter work is repeated within it.
const ROUND: Duration = Duration::from_millis(20);

/// One side of a comparison.
pub struct Side<'a> {
    name: String,
    run: Box<dyn FnMut() -> Result<()> + 'a>,
    pieces: Option<f64>,
    target: Option<f64>,
}

/// One side's outcome.
#[derive(Clone, Debug)]
pub struct Row {
    case: String,
    side: String,
    /// Median, fastest and slowest round, in seconds for a run or for a piece of it.
    median: f64,
    fastest: f64,
    slowest: f64,
    per: &'static str,
    /// Median over that of the first side.
    ratio: Option<f64>,
    target: Option<f64>,
    note: Option<String>,
}

/// All outcomes, and which cases are wanted.
pub struct Bench {
    filter: Vec<String>,
    rounds: usize,
    rows: Vec<Row>,
}

impl<'a> Side<'a> {
    /// A side that does its work once a run.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Result<()> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), pieces: None, target: None }
    }

    /// The run is many equal pieces of work; the time of one is told.
    pub fn pieces(self, pieces: usize) -> Self {
        Self { pieces: Some(pieces as f64), ..self }
    }

    /// Seconds that a run, or a piece where the side has pieces, shall keep below.
    pub fn within(self, seconds: f64) -> Self {
        Self { target: Some(seconds), ..self }
    }
}

impl Bench {
    /// Takes every case whose name contains one of `filter`; all when it is empty.
    pub fn new(filter: Vec<String>, rounds: usize) -> Self {
        Self { filter, rounds: rounds.max(1), rows: Vec::new() }
    }

    /// Whether any case of this name is to be run.
    pub fn wants(&self, case: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| case.contains(part.as_str()))
    }

    /// Runs all sides once to warm up, then round by round in turn. The first side is what the others are compared with.
    pub fn compare(&mut self, case: &str, per: &'static str, mut sides: Vec<Side<'_>>) -> Result<()> {
        let mut repeats = Vec::with_capacity(sides.len());
        for side in &mut sides {
            let start = Instant::now();
            (side.run)()?;
            let once = start.elapsed().max(Duration::from_nanos(50));
            repeats.push((ROUND.as_secs_f64() / once.as_secs_f64()).ceil().clamp(1.0, 1e6) as usize);
        }
        let mut times = vec![Vec::with_capacity(self.rounds); sides.len()];
        for round in 0..self.rounds {
            for turn in 0..sides.len() {
                let at = (round + turn) % sides.len();
                let start = Instant::now();
                for _ in 0..repeats[at] {
                    (sides[at].run)()?;
                }
                let runs = repeats[at] as f64 * sides[at].pieces.unwrap_or(1.0);
                times[at].push(start.elapsed().as_secs_f64() / runs);
            }
        }
        let first = self.rows.len();
        for (side, mut times) in sides.into_iter().zip(times) {
            times.sort_by(f64::total_cmp);
            let median = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0;
            let base = self.rows.get(first).map(|row| row.median);
            self.rows.push(Row {
                case: case.to_owned(),
                side: side.name,
                median,
                fastest: times[0],
                slowest: times[times.len() - 1],
                per,
                ratio: base.map(|base| median / base),
                target: side.target,
                note: None,
            });
        }
        self.show(first);
        Ok(())
    }

    /// Adds a remark to the row made last.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        crate::say(&format!("{:32}  {note}", ""));
        if let Some(row) = self.rows.last_mut() {
            row.note = Some(note);
        }
    }

    /// The rows so far, as they are stored.
    pub fn json(&self) -> Value {
        self.rows.iter().map(Row::json).collect()
    }

    /// The median of the side of this name that was measured last, in seconds.
    pub fn median(&self, side: &str) -> f64 {
        self.rows.iter().rev().find(|row| row.side == side).map_or(f64::NAN, |row| row.median)
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table's head.
    pub fn head() -> String {
        line(&["case", "side", "median", "fastest", "slowest", "per", "ratio", "target"])
    }

    fn show(&self, first: usize) {
        for row in &self.rows[first..] {
            let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.4}"));
            let target = row.target.map_or(String::new(), |target| {
                format!("< {} {}", time(target), if row.median < target { "kept" } else { "MISSED" })
            });
            let times = [row.median, row.fastest, row.slowest].map(time);
            let [median, fastest, slowest] = times.each_ref().map(String::as_str);
            crate::say(&line(&[&row.case, &row.side, median, fastest, slowest, row.per, &ratio, &target]));
        }
    }
}

impl Row {
    fn json(&self) -> Value {
        let mut row = json!({
            "case": self.case, "side": self.side, "per": self.per, "seconds": self.median,
            "fastest": self.fastest, "slowest": self.slowest,
        });
        if let Some(ratio) = self.ratio {
            row["ratio"] = json!(ratio);
        }
        if let Some(target) = self.target {
            row["targetSeconds"] = json!(target);
            row["kept"] = json!(self.median < target);
        }
        if let Some(note) = &self.note {
            row["note"] = json!(note);
        }
        row
    }
}

fn line(cells: &[&str; 8]) -> String {
    let [case, side, median, fastest, slowest, per, ratio, target] = cells;
    let row =
        format!("{case:32}  {side:34}  {median:>10}  {fastest:>10}  {slowest:>10}  {per:10}  {ratio:>8}  {target}");
    row.trim_end().to_owned()
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.3} s"),
        s if s >= 1e-3 => format!("{:.3} ms", s * 1e3),
        s if s >= 1e-6 => format!("{:.3} µs", s * 1e6),
        s => format!("{:.1} ns", s * 1e9),
    }
}
