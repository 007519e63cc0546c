//! Every kernel of the device against the reference, and bit for bit against the CPU where that is promised.
//!
//! In: an engine. Out: a line and a JSON value a case, with how far the CPU's own kernels are apart beside the error
//! against f64, and how many broke. Equality with the CPU is a claim about loops
//! that nobody has run on a device: a case of it that breaks is reported, and counts.

use recmesh_kernels::cuda::Engine;
use recmesh_kernels::twins::checks::{Outcome, Verdict, check_beside, compare_bits};
use recmesh_kernels::twins::{Cpu, Operation, Rows, cases};
use serde_json::{Value, json};

/// What came of all cases.
pub struct Checked {
    /// One value a case.
    pub cases: Vec<Value>,
    /// How many broke.
    pub broken: usize,
}

impl Checked {
    /// A case that is held unless something is wrong with it.
    pub fn note(&mut self, operation: &str, case: &str, broken: Option<String>) {
        let verdict = if broken.is_some() { "broken" } else { "held" };
        if let Some(why) = &broken {
            println!("{operation:22} {case} BROKEN: {why}");
        }
        self.broken += usize::from(broken.is_some());
        self.cases.push(json!({"operation": operation, "case": case, "verdict": verdict, "reason": broken}));
    }
}

/// Runs all cases, or those of one operation.
pub fn run(engine: &mut Engine, only: Option<&str>) -> Checked {
    let table = cases::trained();
    let real = Rows::new(&table, cases::TRAINED.1);
    let wanted = |operation: &Operation| only.is_none_or(|only| operation.name() == only);
    let mut cpu = Cpu::default();
    let beside = |operation| check_beside(engine, &mut cpu, operation, real);
    let mut outcomes: Vec<Outcome> = Operation::ALL.into_iter().filter(wanted).flat_map(beside).collect();
    if only.is_none() {
        outcomes.extend(compare_bits(engine, &mut cpu, real));
    }
    let columns = ["max error", "error", "bound", "from CPU", "spread"];
    let [largest, error, bound, apart, spread] = columns.map(|name| format!("{name:>11}"));
    println!("{:22} {:>9} {largest} {error} {bound} {apart} {spread}  case", "operation", "elements");
    outcomes.iter().for_each(line);
    let broken = outcomes.iter().filter(|outcome| outcome.is_broken()).count();
    Checked { cases: outcomes.iter().map(value).collect(), broken }
}

fn line(outcome: &Outcome) {
    let Outcome { operation, case, elements, largest_error, error, bound, spread, apart, verdict } = outcome;
    let verdict = match verdict {
        Verdict::Held => String::new(),
        Verdict::Broken(what) => format!(" BROKEN: {what}"),
        Verdict::Skipped(why) => format!(" skipped: {why}"),
    };
    let name = operation.name();
    let told = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.3e}"));
    let (apart, spread) = (told(*apart), told(spread.map(|spread| spread.found)));
    print!("{name:22} {elements:>9} {largest_error:>11.3e} {error:>11.3e} {bound:>11.3e} {apart:>11} {spread:>11}");
    println!("  {case}{verdict}");
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
        "maxDifferenceToCpu": outcome.apart,
        "spread": outcome.spread.map(|spread| spread.found),
        "spreadLimit": outcome.spread.map(|spread| spread.limit),
        "verdict": verdict,
        "reason": reason,
    })
}
