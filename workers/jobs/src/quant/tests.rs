//! A model with a planted outlier falls back, and its folder says why and answers as before.

use recmesh_contract::{
    Query, Silent, Ties,
    config::{DatasetParams, QuantizationFormat, SasRec},
};
use recmesh_data::Dataset;
use recmesh_models::{Trainable, retrieval};

use super::*;

const TIMES: f32 = 1_048_576.0;

fn data() -> Interactions {
    let params = serde_json::json!({"source": {"planted": {"users": 120, "items": 200, "length": 8, "seed": 3}}});
    let params: DatasetParams = serde_json::from_value(params).unwrap();
    match recmesh_data::prepare(&params, Path::new("."), &Silent).unwrap().0 {
        Dataset::Interactions(data) => data,
        Dataset::Examples(_) => panic!("a planted world has interactions"),
    }
}

fn model(items: usize, outlier: bool) -> retrieval::SasRec {
    let params: SasRec = serde_json::from_value(serde_json::json!({"dim": 64, "blocks": 1})).unwrap();
    let mut model = retrieval::SasRec::new(&params, items, 5).unwrap();
    // Every channel of the norm's output once more, one of them far away; what reads it makes up for that.
    for tensor in model.params_mut().tensors_mut().iter_mut().filter(|_| outlier) {
        if tensor.name.starts_with("blocks.0.ffn.norm") {
            tensor.data[3] *= TIMES;
        } else if tensor.name == "blocks.0.ffn.up" {
            tensor.data.iter_mut().skip(3).step_by(tensor.cols).for_each(|weight| *weight /= TIMES);
        }
    }
    model
}

fn quantise(
    model: &retrieval::SasRec,
    data: &Interactions,
    format: QuantizationFormat,
    (out, threads): (&Path, usize),
) -> Made {
    let mut made = Made { metrics: Vec::new(), message: None, quantization: None };
    model.save(out).unwrap();
    let how = Quantization { format, ..Quantization::default() };
    let to = (out, threads, &Silent as &dyn Reporter);
    retrieval(model, retrieval::SasRec::recommender, data, &how, to, &mut made).unwrap();
    made
}

#[test]
fn an_outlier_that_hides_what_ranks_keeps_a_model_in_high_precision() {
    let data = data();
    for format in [QuantizationFormat::E4m3, QuantizationFormat::Int8] {
        falls_back(&data, format);
    }
}

fn falls_back(data: &Interactions, format: QuantizationFormat) {
    let dir = tempfile::tempdir().unwrap();
    let model = model(data.items.len(), true);
    let made = quantise(&model, data, format, (dir.path(), 2));
    let told = made.quantization.unwrap();
    assert_eq!((told.precision, told.served_bytes), (Precision::F32, told.weight_bytes));
    assert!(told.message.starts_with("serves in high precision: relative error"), "{}", told.message);
    assert!(told.message.contains("of layer blocks.0.ffn.up above 0.045 (1 layers are)"), "{}", told.message);
    let report = quant::report(dir.path()).unwrap().unwrap();
    assert!(report.reasons[0].contains("blocks.0.ffn.up"), "{report:?}");
    assert_eq!(super::told(dir.path()).unwrap(), Some(told));
    assert!(!dir.path().join(quant::CODES).exists());

    let query = Query { history: &[1, 2, 3], exclude: &[], allowed: None, k: 20, ties: Ties::ByIndex };
    let mut served = retrieval::load(dir.path(), None).unwrap();
    assert_eq!(served.recommend(&[query]).unwrap(), model.recommender().recommend(&[query]).unwrap(), "to the bit");
}

#[test]
fn the_same_model_without_it_is_accepted_with_the_same_figures_for_any_threads() {
    let data = data();
    for format in [QuantizationFormat::E4m3, QuantizationFormat::Int8] {
        let [one, many] = [1, 3].map(|threads| {
            let dir = tempfile::tempdir().unwrap();
            let made = quantise(&model(data.items.len(), false), &data, format, (dir.path(), threads));
            let told = made.quantization.unwrap();
            assert_eq!(told.precision, format.into(), "{}", told.message);
            assert!(told.served_bytes < told.weight_bytes);
            [quant::REPORT, quant::CODES].map(|file| std::fs::read(dir.path().join(file)).unwrap())
        });
        assert!(one == many, "{format:?}");
    }
}
