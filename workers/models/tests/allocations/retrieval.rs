//! Retrieval models: batches of all sizes, with and without exclusions, filters and items that are not live.
//!
//! In: small models with fresh weights. Out: what their servers allocate, and that a server's past changes no answer.

use std::sync::Arc;

use recmesh_catalog::{Catalog, CatalogItem, write};
use recmesh_contract::config::{self, Decode, Quantization, QuantizationFormat};
use recmesh_contract::{ItemIndex, Mask, Query, Recommend, Ties};
use recmesh_models::quant::{Quantisable, quantised};
use recmesh_models::retrieval::{ItemKnn, LazyDecoder, Popularity, SasRec, Transitions};

use super::counting::{ITEMS, check, histories};

/// Some items share a semantic ID.
fn catalog() -> Arc<Catalog> {
    let code = |item: u32, times: u32, codes: u32| (item.wrapping_mul(times) >> 16) % codes;
    let item = |item: u32| CatalogItem {
        id: format!("item-{item}"),
        codes: vec![code(item, 2_654_435_761, 16), code(item, 40_503, 12), code(item, 2_246_822_519, 5)],
        ..CatalogItem::default()
    };
    let items: Vec<CatalogItem> = (0..ITEMS).map(item).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.bin");
    write(&path, &[16, 12, 5], &items).unwrap();
    Arc::new(Catalog::open(&path).unwrap())
}

fn mask(member: impl Fn(u32) -> bool) -> Mask {
    let mut mask = Mask::none(ITEMS as usize);
    (0..ITEMS).filter(|&item| member(item)).for_each(|item| mask.insert(item));
    mask
}

/// Requests of one query and of `many`, of all lengths, some with exclusions, some with a filter, some with both, some
/// without a history.
fn requests<'a>(
    histories: &'a [Vec<ItemIndex>],
    seen: &'a [Vec<ItemIndex>],
    allowed: &'a Mask,
    many: usize,
) -> Vec<Vec<Query<'a>>> {
    let query = |user: usize, restricted: usize| Query {
        history: &histories[user],
        exclude: if restricted & 1 == 1 { &seen[user] } else { &[] },
        allowed: (restricted & 2 == 2).then_some(allowed),
        k: 10 + user % 7,
        ties: if user.is_multiple_of(5) { Ties::Random(7) } else { Ties::ByIndex },
    };
    let mut requests: Vec<Vec<Query<'_>>> = (0..12).map(|at| vec![query(at * 3, at % 4)]).collect();
    for restricted in 0..4 {
        requests.push((0..many).map(|user| query(user, restricted)).collect());
        requests.push((0..2).map(|user| query(user + 5, restricted)).collect());
    }
    requests.push((0..many / 2 + 1).map(|user| query(user, user % 4)).collect());
    let new = Query { history: &[], ..query(0, 1) };
    requests.push(vec![new, query(39, 0), new]);
    requests
}

/// A server of a model over all items, and a fork of one over some; up to `many` queries at once. What earlier requests
/// left in its memory changes no answer.
fn check_retrieval(what: &str, many: usize, server: impl Fn(Arc<Catalog>) -> Box<dyn Recommend>) {
    let histories = histories();
    let seen: Vec<Vec<ItemIndex>> = histories
        .iter()
        .map(|history| {
            let mut seen = history.clone();
            seen.sort_unstable();
            seen.dedup();
            seen
        })
        .collect();
    let allowed = mask(|item| item % 3 != 1);
    let requests = requests(&histories, &seen, &allowed, many);
    let whole = catalog();
    let part = whole.with_live(mask(|item| item % 5 != 2));
    for (case, mut server) in [("all live", server(whole)), ("a fork, some live", server(Arc::new(part)).fork())] {
        check(&format!("{what}, {case}"), &requests, |queries| server.recommend(queries).unwrap());
        for queries in &requests {
            assert_eq!(server.recommend(queries).unwrap(), server.fork().recommend(queries).unwrap(), "{what}, {case}");
        }
    }
}

pub(super) const FORMATS: [QuantizationFormat; 2] = [QuantizationFormat::E4m3, QuantizationFormat::Int8];

/// The model with its linear layers in eight bits.
pub(super) fn in_format<M: Quantisable>(model: &M, format: QuantizationFormat) -> M {
    quantised(model, &Quantization { format, ..Quantization::default() })
}

fn decoder(catalog: Arc<Catalog>, beams: u32, renormalise: bool) -> LazyDecoder {
    let defaults: config::LazyDecoder = serde_json::from_str("{}").unwrap();
    let config = config::LazyDecoder {
        d_model: 32,
        layers: 2,
        heads: 4,
        kv_groups: 2,
        kv_layers: 2,
        ffn: 2,
        context_length: 12,
        context_layers: 1,
        item_embedding: true,
        decode: Decode { beams, renormalise },
        ..defaults
    };
    LazyDecoder::new(&config, catalog, 3).unwrap()
}

#[test]
fn a_lazy_decoder_allocates_its_answers_only() {
    for (beams, renormalise) in [(1, false), (128, false), (128, true)] {
        check_retrieval(&format!("beam {beams}"), 6, |catalog| decoder(catalog, beams, renormalise).recommender());
    }
    for format in FORMATS {
        let server = |catalog| in_format(&decoder(catalog, 128, false), format).recommender();
        check_retrieval(&format!("beam 128, {format:?}"), 6, server);
    }
}

fn sasrec() -> SasRec {
    let defaults: config::SasRec = serde_json::from_str("{}").unwrap();
    let config = config::SasRec { dim: 32, blocks: 2, heads: 2, ffn: 2, max_length: 20, ..defaults };
    SasRec::new(&config, ITEMS as usize, 5).unwrap()
}

#[test]
fn a_sasrec_allocates_its_answers_only() {
    check_retrieval("SASRec", 32, |catalog| sasrec().into_recommender(Some(catalog)));
    for format in FORMATS {
        let server = |catalog| in_format(&sasrec(), format).into_recommender(Some(catalog));
        check_retrieval(&format!("SASRec, {format:?}"), 32, server);
    }
}

#[test]
fn counted_models_allocate_their_answers_only() {
    let histories = histories();
    let sequences: Vec<&[ItemIndex]> = histories.iter().map(Vec::as_slice).collect();
    let items = ITEMS as usize;
    check_retrieval("popularity", 32, |catalog| Popularity::count(&sequences, items).recommender(Some(catalog)));
    let (knn, follows) = (serde_json::from_str("{}").unwrap(), serde_json::from_str("{}").unwrap());
    check_retrieval("item-kNN", 32, |catalog| ItemKnn::count(&knn, &sequences, items).recommender(Some(catalog)));
    check_retrieval("transitions", 32, |catalog| {
        Transitions::count(&follows, &sequences, items).recommender(Some(catalog))
    });
}
