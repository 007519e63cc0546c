//! Every kernel of the device against the reference, and bit for bit against the CPU where that is promised.
//!
//! In: an engine. Out: a line and a JSON value a case, and how many broke. Equality with the CPU is a claim about loops
//! that nobody has run on a device: a case of it that breaks is reported, and counts.

use recmesh_kernels::cuda::Engine;
use recmesh_kernels::twins::checks::{Outcome, Verdict, check, compare_bits};
use recmesh_kernels::twins::{Cpu, Operation, Rows, cases};
use serde_json::{Value, json};

/// What came of all cases.
pub struct Checked {
    /// One value a case.
    pub cases: Vec<Value>,
    /// How many broke.
    pub broken: usize,
}

/// Runs all cases, or those of one operation.
pub fn run(engine: &mut Engine, only: Option<&str>) -> Checked {
    let table = cases::trained();
    let real = Rows::new(&table, cases::TRAINED.1);
    let wanted = |operation: &Operation| only.is_none_or(|only| operation.name() == only);
    let mut outcomes: Vec<Outcome> =
        Operation::ALL.into_iter().filter(wanted).flat_map(|operation| check(engine, operation, real)).collect();
    if only.is_none() {
        outcomes.extend(compare_bits(engine, &mut Cpu::default(), real));
    }
    println!("{:22} {:>9} {:>11} {:>11} {:>11}  case", "operation", "elements", "max error", "error", "bound");
    outcomes.iter().for_each(line);
    let broken = outcomes.iter().filter(|outcome| outcome.is_broken()).count();
    Checked { cases: outcomes.iter().map(value).collect(), broken }
}

fn line(outcome: &Outcome) {
    let Outcome { operation, case, elements, largest_error, error, bound, verdict } = outcome;
    let verdict = match verdict {
        Verdict::Held => String::new(),
        Verdict::Broken(what) => format!(" BROKEN: {what}"),
        Verdict::Skipped(why) => format!(" skipped: {why}"),
    };
    let name = operation.name();
    println!("{name:22} {elements:>9} {largest_error:>11.3e} {error:>11.3e} {bound:>11.3e}  {case}{verdict}");
}

fn value(outcome: &Outcome) -> Value {
    let (verdict, reason) = match &outcome.verdict {
        Verdict::Held => ("held", None),
        Verdict::Broken(what) => ("broken", Some(what)),
        Verdict::Skipped(why) => ("skipped", Some(why)),
    };
    // JSON has no NaN: such an error becomes null.
    json!({
        "operation": outcome.operation.name(),
        "case": outcome.case,
        "elements": outcome.elements,
        "maxError": outcome.largest_error,
        "errorNearestBound": outcome.error,
        "bound": outcome.bound,
        "verdict": verdict,
        "reason": reason,
    })
}
