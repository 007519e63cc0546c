//! Quantised models against themselves in high precision: trained ones, one with a planted outlier, broken files.

use std::collections::BTreeSet;
use std::path::Path;

use recmesh_contract::config::{self, Device, Quantization, QuantizationFormat};
use recmesh_contract::{Candidate, ItemIndex, Precision, Quantized, Recommend};
use recmesh_kernels::fp8::gates::{self, Gates, Verdict};
use recmesh_kernels::{ParamId, Params};

use super::*;
use crate::planted::{examples, grid, query, recall, train, walks};
use crate::retrieval::{LazyDecoder, SasRec, ServesFrom, load, load_on};
use crate::{ModelError, Trainable};

const ITEMS: u32 = 144;
const K: usize = 32;
const FORMATS: [QuantizationFormat; 2] = [QuantizationFormat::E4m3, QuantizationFormat::Int8];

fn in_format(format: QuantizationFormat) -> Quantization {
    Quantization { format, ..Quantization::default() }
}

fn sasrec() -> SasRec {
    with_blocks(1)
}

fn with_blocks(blocks: u32) -> SasRec {
    let defaults: config::SasRec = serde_json::from_str("{}").unwrap();
    let config = config::SasRec { dim: 32, blocks, heads: 2, ffn: 2, max_length: 8, dropout: 0.0, ..defaults };
    SasRec::new(&config, ITEMS as usize, 5).unwrap()
}

fn decoder() -> LazyDecoder {
    let text = r#"{"dModel": 32, "layers": 1, "heads": 2, "ffn": 2, "contextLength": 8, "contextLayers": 1,
        "dropout": 0, "decode": {"beams": 48}}"#;
    LazyDecoder::new(&serde_json::from_str(text).unwrap(), grid(12, 12), 5).unwrap()
}

fn answers(model: &mut dyn Recommend, walks: &[Vec<ItemIndex>]) -> Vec<Vec<Candidate>> {
    let queries: Vec<_> = walks.iter().map(|walk| query(&walk[..walk.len() - 1], K)).collect();
    model.recommend(&queries).unwrap()
}

fn overlap(one: &[Vec<Candidate>], two: &[Vec<Candidate>]) -> f64 {
    let share = |(one, two): (&Vec<Candidate>, &Vec<Candidate>)| {
        let two: BTreeSet<ItemIndex> = two.iter().map(|it| it.item).collect();
        one.iter().filter(|it| two.contains(&it.item)).count() as f64 / K as f64
    };
    one.iter().zip(two).map(share).sum::<f64>() / one.len() as f64
}

/// A trained model quantised and compared on walks that it has not seen.
fn figures<M: Quantisable>(
    model: &M,
    recommender: fn(&M) -> Box<dyn Recommend>,
    format: QuantizationFormat,
) -> gates::Report {
    let (how, held_out) = (in_format(format), walks(ITEMS, 400, 7, 9));
    let trial = trial(model, &how);
    let exact = answers(&mut *recommender(&trial), &held_out);
    let (plain, low) = (recommender(model), quantised(model, &how));
    let mut plain = plain;
    assert_eq!(overlap(&answers(&mut *plain, &held_out), &exact), 1.0, "a trial answers as before");
    let mut server = recommender(&low);
    let found = answers(&mut *server, &held_out);
    assert_ne!(exact, found, "nothing was quantised");
    assert_eq!(found, answers(&mut *server.fork(), &held_out), "another thread answers the same");
    gates::Report {
        layers: errors(&trial),
        top_k_overlap: overlap(&exact, &found),
        recall: recall(&mut *plain, &held_out, K),
        quantised_recall: recall(&mut *server, &held_out, K),
    }
}

fn trained<M: Trainable<Example = crate::retrieval::SequenceExample>>(mut model: M) -> M {
    train(&mut model, &examples(&walks(ITEMS, 300, 7, 1)), 80, 100, 0.02);
    model
}

/// Scales one channel behind a norm up and the weights that read it down: in high precision nothing changes, but the
/// scale of every token belongs to the outlier, and what decides ranks rounds away.
fn with_outlier(params: &mut Params, norm: &str, readers: &[&str]) {
    const TIMES: f32 = 1_048_576.0;
    for tensor in params.tensors_mut() {
        if tensor.name.starts_with(norm) {
            tensor.data[3] *= TIMES;
        }
        if readers.contains(&tensor.name.as_str()) {
            tensor.data.iter_mut().skip(3).step_by(tensor.cols).for_each(|weight| *weight /= TIMES);
        }
    }
}

#[test]
fn trained_models_bear_eight_bits() {
    let (sasrec, lazy) = (trained(sasrec()), trained(decoder()));
    for format in FORMATS {
        let found = [
            ("sasRec", figures(&sasrec, SasRec::recommender, format), layers(&sasrec, format).len()),
            ("lazyDecoder", figures(&lazy, LazyDecoder::recommender, format), layers(&lazy, format).len()),
        ];
        for (name, report, layers) in found {
            println!("{name} {format:?}: {report:?}");
            assert_eq!(report.layers.len(), layers, "{name} {format:?}");
            assert!(report.recall > 0.5, "{name} has learned nothing: {report:?}");
            assert_eq!(gates::judge(&report, &Gates::default()), Verdict::Accept, "{name} {format:?}: {report:?}");
            let worst = report.layers.iter().map(|it| it.rel_error).fold(0.0, f64::max);
            assert!(format == QuantizationFormat::E4m3 || worst < 0.02, "{name}: {worst}");
        }
        assert!(weight_bytes(quantised(&lazy, &in_format(format)).params()) < weight_bytes(lazy.params()));
    }
}

#[test]
fn only_layers_between_hidden_rows_are_quantised() {
    let names = |params: &Params, ids: Vec<ParamId>| -> Vec<String> {
        ids.into_iter().map(|id| params.get(id).name.clone()).collect()
    };
    let (sasrec, lazy) = (sasrec(), decoder());
    let all = [names(sasrec.params(), sasrec.linear_layers()), names(lazy.params(), lazy.linear_layers())].concat();
    assert!(all.len() > 15 && all.contains(&"context.kv".to_owned()), "{all:?}");
    for kept in ["item", "code", "head", "position", "norm", "bias"] {
        assert!(all.iter().all(|name| !name.split('.').any(|part| part == kept)), "{kept} in {all:?}");
    }
}

#[test]
fn in_signed_bytes_keys_and_values_that_are_never_projected_stay() {
    let model = with_blocks(2);
    let names = |format| -> Vec<String> {
        layers(&model, format).into_iter().map(|id| model.params().get(id).name.clone()).collect()
    };
    let all = names(QuantizationFormat::E4m3);
    let stays = |name: &String| ["blocks.1.attention.key", "blocks.1.attention.value"].contains(&name.as_str());
    let but: Vec<String> = all.iter().filter(|name| !stays(name)).cloned().collect();
    assert_eq!((names(QuantizationFormat::Int8), all.len()), (but.clone(), but.len() + 2));
}

#[test]
fn an_outlier_that_hides_what_ranks_is_found() {
    let mut model = trained(sasrec());
    let before = answers(&mut *model.recommender(), &walks(ITEMS, 50, 7, 9));
    let readers = ["query", "key", "value"].map(|it| format!("blocks.0.attention.{it}"));
    let readers: Vec<&str> = readers.iter().map(String::as_str).collect();
    with_outlier(model.params_mut(), "blocks.0.attention.norm", &readers);
    let after = answers(&mut *model.recommender(), &walks(ITEMS, 50, 7, 9));
    assert!(overlap(&before, &after) > 0.99, "in high precision nothing changes");
    let report = figures(&model, SasRec::recommender, QuantizationFormat::E4m3);
    let Verdict::FallBack(reasons) = gates::judge(&report, &Gates::default()) else { panic!("{report:?}") };
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    assert!(reasons[0].contains("blocks.0.attention."), "{reasons:?}");
    assert!(reasons.iter().any(|it| it.contains("overlap")), "{reasons:?}");
}

/// The same in signed bytes, where the only block's keys and values are not quantised: the feed-forward layer tells.
#[test]
fn an_outlier_that_hides_what_ranks_is_found_in_signed_bytes() {
    let mut model = trained(sasrec());
    with_outlier(model.params_mut(), "blocks.0.ffn.norm", &["blocks.0.ffn.up"]);
    let report = figures(&model, SasRec::recommender, QuantizationFormat::Int8);
    let Verdict::FallBack(reasons) = gates::judge(&report, &Gates::default()) else { panic!("{report:?}") };
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    assert!(reasons[0].contains("of layer blocks.0.ffn.up above 0.045 (1 layers are)"), "{reasons:?}");
}

fn report_of(precision: Precision) -> Report {
    let format = if precision == Precision::Int8 { QuantizationFormat::Int8 } else { QuantizationFormat::E4m3 };
    let verdict = Quantized { precision, message: "because".to_owned(), weight_bytes: 8, served_bytes: 4 };
    let quality = Quality { metric: "recall@32".to_owned(), exact: 0.5, quantized: 0.5 };
    let layers = vec![LayerReport { layer: "one".to_owned(), rel_error: None }];
    Report::new(verdict, vec![], in_format(format), 9, layers, (K, 1.0), quality)
}

#[test]
fn a_folder_serves_in_the_precision_that_its_report_tells() {
    let (model, histories) = (sasrec(), walks(ITEMS, 20, 7, 9));
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let loaded = |dir: &Path| answers(&mut *load(dir, None).unwrap(), &histories);
    let exact = answers(&mut *model.recommender(), &histories);
    assert_eq!((loaded(dir.path()), report(dir.path()).unwrap()), (exact.clone(), None));
    for format in FORMATS {
        let (low, precision) = (quantised(&model, &in_format(format)), Precision::from(format));
        let found = answers(&mut *low.recommender(), &histories);
        assert_ne!(exact, found);
        save(dir.path(), &report_of(Precision::F32), &low).unwrap();
        assert_eq!(loaded(dir.path()), exact, "a model that fell back answers to the bit as before");
        assert!(!dir.path().join(CODES).exists());
        save(dir.path(), &report_of(precision), &low).unwrap();
        assert_eq!(loaded(dir.path()), found);
        assert_eq!(report(dir.path()).unwrap(), Some(report_of(precision)));
        std::fs::remove_file(dir.path().join(CODES)).unwrap();
    }
}

#[test]
fn signed_bytes_stay_with_the_cpu() {
    let (model, dir) = (decoder(), tempfile::tempdir().unwrap());
    model.save(dir.path()).unwrap();
    let low = quantised(&model, &in_format(QuantizationFormat::Int8));
    save(dir.path(), &report_of(Precision::Int8), &low).unwrap();
    let on = |device| load_on(dir.path(), Some(grid(12, 12)), device);
    let placed = on(Device::Auto).unwrap();
    assert!(placed.from == ServesFrom::Cpu && placed.why.contains("int8"), "{}", placed.why);
    let refused = on(Device::Cuda).err().map(|error| error.to_string()).unwrap();
    assert!(refused.contains("spec.quantization.format"), "{refused}");
}

#[test]
fn per_tensor_weights_come_back_as_they_went() {
    let (model, histories) = (decoder(), walks(ITEMS, 20, 7, 9));
    for format in ["e4m3", "int8"] {
        let how: Quantization =
            serde_json::from_str(&format!(r#"{{"format": "{format}", "linear": {{"weights": "perTensor"}}}}"#))
                .unwrap();
        let low = quantised(&model, &how);
        let params = low.params();
        for id in low.linear_layers() {
            let (rows, cols) = (params.get(id).rows, params.get(id).cols);
            assert_eq!(params.quantised(id).unwrap().weights().bytes(), rows * cols + size_of::<f32>(), "one scale");
        }
        let dir = tempfile::tempdir().unwrap();
        model.save(dir.path()).unwrap();
        let mut report = report_of(how.format.into());
        report.asked = how;
        save(dir.path(), &report, &low).unwrap();
        let mut back = load(dir.path(), Some(grid(12, 12))).unwrap();
        assert_eq!(answers(&mut *back, &histories), answers(&mut *low.recommender(), &histories), "{format}");
    }
}

#[test]
fn broken_files_are_refused_by_name() {
    let model = sasrec();
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let (codes, json) = (dir.path().join(CODES), dir.path().join(REPORT));
    save(dir.path(), &report_of(Precision::E4m3), &quantised(&model, &Quantization::default())).unwrap();
    let whole = std::fs::read(&codes).unwrap();
    let told = || -> String { load(dir.path(), None).err().map(|error: ModelError| error.to_string()).unwrap() };

    std::fs::write(&codes, &whole[..whole.len() - 9]).unwrap();
    let text = told();
    assert!(text.contains(CODES) && text.contains("made again"), "{text}");
    let mut damaged = whole.clone();
    let last = damaged.len() - 4;
    damaged[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&codes, &damaged).unwrap();
    let text = told();
    assert!(text.contains(CODES) && text.contains("blocks.0."), "{text}");
    std::fs::remove_file(&codes).unwrap();
    assert!(told().contains(CODES));

    let other = with_blocks(2);
    save(dir.path(), &report_of(Precision::E4m3), &quantised(&other, &Quantization::default())).unwrap();
    assert!(told().contains("24 arrays for 6 layers"), "{}", told());

    let bytes = |format| quantised(&model, &in_format(format));
    save(dir.path(), &report_of(Precision::Int8), &bytes(QuantizationFormat::Int8)).unwrap();
    load(dir.path(), None).unwrap();
    let mut damaged = std::fs::read(&codes).unwrap();
    let arrays = safetensors::SafeTensors::deserialize(&damaged).unwrap();
    let first = arrays.tensor("blocks.0.ffn.up").unwrap().data().as_ptr() as usize - damaged.as_ptr() as usize;
    // -128, which is no code.
    damaged[first] = 128;
    std::fs::write(&codes, &damaged).unwrap();
    assert!(told().contains("a code or scale"), "{}", told());
    save(dir.path(), &report_of(Precision::E4m3), &bytes(QuantizationFormat::E4m3)).unwrap();
    let text = std::fs::read_to_string(&json).unwrap();
    std::fs::write(&json, text.replace("\"precision\": \"e4m3\"", "\"precision\": \"int8\"")).unwrap();
    assert!(told().contains("other codes were asked for") && told().contains(REPORT), "{}", told());
    std::fs::write(&json, text.replace("e4m3", "int8")).unwrap();
    assert!(told().contains("arrays for 4 layers"), "{}", told());

    std::fs::write(&json, text.replace("\"formatVersion\": 1", "\"formatVersion\": 7")).unwrap();
    assert!(told().contains("formatVersion is 7"), "{}", told());
    std::fs::write(&json, "{").unwrap();
    assert!(told().contains(REPORT));
}
