//! Pools over artifacts of a real store: from a configuration to an answer, and what is said when one is wrong.

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use recmesh_catalog::{CatalogItem, write};
use recmesh_contract::{
    ArtifactKind, Call, Done, Millis, Stage, Version,
    config::{Device, NoParams, PoolConfig, PoolParams, RetrievalAlgorithm},
};
use recmesh_store::Lineage;
use recmesh_telemetry::Telemetry;

use super::*;
use crate::Pool;

/// Users' items: item 2 is in all three, item 1 in two, item 0 in one.
const HISTORIES_OF: [(&str, &[ItemIndex]); 3] = [("u0", &[2]), ("u1", &[1, 2]), ("u2", &[0, 1, 2])];

fn id(kind: ArtifactKind) -> ArtifactId {
    ArtifactId { kind, name: name("a"), version: Version::of([b"x".as_slice()]) }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn make(store: &Store, kind: ArtifactKind, fill: impl FnOnce(&Path)) {
    let draft = store.draft(&id(kind)).unwrap();
    fill(draft.path());
    draft.commit(Lineage::default()).unwrap();
}

/// A store with a catalog of `items` items, the histories and a popularity model over three items.
fn store(items: u32) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    make(&store, ArtifactKind::Tokenizer, |folder| {
        let item = |i: u32| CatalogItem { id: format!("i{i}"), codes: vec![i], ..CatalogItem::default() };
        write(&folder.join(CATALOG), &[8], &(0..items).map(item).collect::<Vec<_>>()).unwrap();
    });
    make(&store, ArtifactKind::Dataset, |folder| {
        Histories::write(&folder.join(HISTORIES), HISTORIES_OF.into_iter()).unwrap();
    });
    make(&store, ArtifactKind::RetrievalModel, |folder| {
        let sequences: Vec<&[ItemIndex]> = HISTORIES_OF.iter().map(|(_, items)| *items).collect();
        retrieval::count(&RetrievalAlgorithm::Popularity(NoParams {}), &sequences, 3, folder).unwrap();
    });
    (dir, store)
}

fn start(store: &Store, serves: Serves) -> Result<Pool, PoolError> {
    start_on(store, serves, Device::default(), &Telemetry::new())
}

fn start_on(store: &Store, serves: Serves, device: Device, telemetry: &Telemetry) -> Result<Pool, PoolError> {
    let params = PoolParams { engines: 2, max_batch_age: Millis(0), device, ..PoolParams::default() };
    Pool::start(&PoolConfig { name: name("p"), serves, params }, store, telemetry.pool())
}

fn tokenize() -> Serves {
    Serves::Tokenize { tokenizer: id(ArtifactKind::Tokenizer), dataset: id(ArtifactKind::Dataset) }
}

fn retrieve() -> Serves {
    Serves::Retrieve { model: id(ArtifactKind::RetrievalModel), tokenizer: id(ArtifactKind::Tokenizer) }
}

async fn ask(stage: &dyn Stage, work: Work) -> Done {
    let deadline = Instant::now() + Duration::from_secs(600);
    stage.call(Call { work, deadline, request_id: "r".into() }).await.unwrap()
}

/// The whole message, sources included.
fn told(result: Result<Pool, PoolError>) -> String {
    let mut error: Option<&dyn Error> = None;
    let failure = result.err();
    if let Some(failure) = &failure {
        error = Some(failure);
    }
    let mut text = String::new();
    while let Some(one) = error {
        text += &format!("{one}; ");
        error = one.source();
    }
    text
}

#[tokio::test]
async fn from_artifacts_to_described_items() {
    let (_dir, store) = store(3);
    let (tokenizer, retriever) = (start(&store, tokenize()).unwrap(), start(&store, retrieve()).unwrap());
    for pool in [&tokenizer, &retriever] {
        pool.warm_up().await.unwrap();
        assert!(pool.stage().ready());
    }
    let user = Some("u0".to_owned());
    let filters = Default::default();
    let request = Request { user, history: None, k: 5, exclude: vec![], filters, allow_seen: false };
    let Done::Context(context) = ask(&*tokenizer.stage(), Work::Tokenize(Arc::new(request))).await else { panic!() };
    let work = Work::Retrieve { context, candidates: 5, finish: Some(Finish { k: 5, weights: Arc::default() }) };
    let Done::Items(items) = ask(&*retriever.stage(), work).await else { panic!() };
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["i1", "i0"], "the most popular first, without the one that was seen");
    assert_eq!(items[0].semantic_id, [1]);
    tokenizer.drain().await;
    retriever.drain().await;
}

#[test]
fn a_model_without_kernels_serves_from_the_cpu_unless_a_device_is_demanded() {
    let (_dir, store) = store(3);
    for device in [Device::Auto, Device::Cpu] {
        let telemetry = Telemetry::new();
        start_on(&store, retrieve(), device, &telemetry).unwrap();
        let text = telemetry.encode().unwrap();
        assert!(text.contains("recmesh_pool_engines{pool=\"p\",device=\"cpu\"} 2"), "{text}");
    }
    let text = told(start_on(&store, retrieve(), Device::Cuda, &Telemetry::new()));
    assert!(text.contains("pool p") && text.contains("only lazy decoders have kernels"), "{text}");
    // No model, so nothing to place.
    start_on(&store, tokenize(), Device::Cuda, &Telemetry::new()).unwrap();
}

/// `make test-cuda` runs this where the emulated driver stands in for a device.
#[tokio::test]
async fn a_lazy_decoder_serves_from_the_device_where_there_is_one() {
    let (_dir, store) = store(3);
    let catalog = Arc::new(Catalog::open(&store.path(&id(ArtifactKind::Tokenizer)).join(CATALOG)).unwrap());
    let decoder = ArtifactId { version: Version::of([b"decoder".as_slice()]), ..id(ArtifactKind::RetrievalModel) };
    let draft = store.draft(&decoder).unwrap();
    let config = r#"{"dModel": 128, "layers": 1, "heads": 2, "ffn": 1, "contextLength": 4, "contextLayers": 0,
        "decode": {"beams": 8}}"#;
    retrieval::LazyDecoder::new(&serde_json::from_str(config).unwrap(), catalog, 7)
        .unwrap()
        .save(draft.path())
        .unwrap();
    draft.commit(Lineage::default()).unwrap();
    let serves = || Serves::Retrieve { model: decoder.clone(), tokenizer: id(ArtifactKind::Tokenizer) };
    let telemetry = Telemetry::new();
    let demanded = start_on(&store, serves(), Device::Cuda, &telemetry);
    let Ok(pool) = demanded else {
        let text = told(demanded);
        assert!(std::env::var_os("RECMESH_NEEDS_DEVICE").is_none(), "{text}");
        assert!(text.contains("pool p") && text.contains("CUDA") && text.contains("pool.device"), "{text}");
        let pool = start_on(&store, serves(), Device::Auto, &telemetry).unwrap();
        pool.warm_up().await.unwrap();
        assert!(telemetry.encode().unwrap().contains("recmesh_pool_engines{pool=\"p\",device=\"cpu\"} 2"));
        return;
    };
    pool.warm_up().await.unwrap();
    let text = telemetry.encode().unwrap();
    for line in [
        "recmesh_pool_engines{pool=\"p\",device=\"cuda\"} 2",
        "recmesh_device_graph_launches_total{pool=\"p\"} 2",
        "recmesh_device_eager_total{pool=\"p\"} 0",
        "recmesh_device_declined_total{pool=\"p\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is missing from\n{text}");
    }
    pool.drain().await;
}

#[test]
fn what_is_wrong_is_named() {
    let (dir, store) = store(2);
    let text = told(start(&store, tokenize()));
    assert!(text.contains("pool p") && text.contains("\"u0\"") && text.contains("2 of the catalog"), "{text}");

    let missing = Serves::Rank { model: id(ArtifactKind::RankingModel), tokenizer: id(ArtifactKind::Tokenizer) };
    let text = told(start(&store, missing));
    assert!(text.contains("pool p") && text.contains("ranking-models/a/"), "{text}");

    let model = store.path(&id(ArtifactKind::RetrievalModel));
    let file = fs::read_dir(model)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    fs::write(file.unwrap(), b"cut short").unwrap();
    let text = told(start(&store, retrieve()));
    assert!(text.contains("pool p") && text.contains("safetensors"), "{text}");
    drop(dir);
}
