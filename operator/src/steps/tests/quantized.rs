//! What a job of the tests tells of quantization.
//!
//! In: what the job is told. Out: a verdict that hangs on one gate alone. Nothing is trained or measured here.

use recmesh_contract::{Precision, Quantized, config::JobWork};

/// What came of quantising, where that is asked for: a gate of 0 holds for no layer.
pub fn quantized(work: &JobWork) -> Option<Quantized> {
    let (JobWork::TrainRetrieval { quantization: Some(asked), .. }
    | JobWork::TrainRanking { quantization: Some(asked), .. }) = work
    else {
        return None;
    };
    let holds = asked.gates.max_rel_error > 0.0;
    let (precision, message) = if holds {
        (Precision::E4m3, "every gate holds")
    } else {
        (Precision::F32, "serves in high precision: relative error 0.0370 of layer context.kv above 0")
    };
    let served_bytes = if holds { 40 } else { 100 };
    Some(Quantized { precision, message: message.to_owned(), weight_bytes: 100, served_bytes })
}
