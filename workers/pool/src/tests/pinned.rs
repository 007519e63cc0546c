//! Threads on cores of their own: only where asked for, one a core, and when a pool before this one has gone.

use std::sync::atomic::{AtomicUsize, Ordering};

use recmesh_contract::{
    ArtifactId, ArtifactKind, Version,
    config::{PoolConfig, Serves, WorkerConfig},
};
use recmesh_kernels::Lease;
use recmesh_store::{Lineage, Store};
use tokio::sync::{Mutex, MutexGuard};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use super::*;
use crate::Host;

/// Held by whoever leases cores: all tests are one process.
static CORES: Mutex<()> = Mutex::const_new(());

/// All cores that the process may run on; none where that cannot be told.
fn cores() -> Vec<usize> {
    let lease = |count| Some(Lease::take(count).cores().to_vec()).filter(|cores| !cores.is_empty());
    (1..).map_while(lease).last().unwrap_or_default()
}

/// All of them, and that nobody else leases any.
async fn alone() -> Option<(Vec<usize>, MutexGuard<'static, ()>)> {
    let guard = CORES.lock().await;
    Some((cores(), guard)).filter(|(cores, _)| !cores.is_empty())
}

fn pinned(engines: u32, threads: u32) -> PoolParams {
    PoolParams { engines, threads, pinned: true, ..PoolParams::default() }
}

#[tokio::test]
async fn threads_are_bound_only_where_asked_for() {
    let Some((all, _guard)) = alone().await else { return };
    let free = bench_of(&PoolParams { engines: 1, threads: 2, ..PoolParams::default() });
    free.pool.warm_up().await.unwrap();
    assert!(matches!(&free.given()[..], [(2, cores, _)] if cores.is_empty()), "{:?}", free.given());
    assert_eq!(cores(), all, "nothing is leased");
}

#[tokio::test]
async fn every_thread_gets_a_core_of_its_own_be_it_only_one() {
    let Some((all, _guard)) = alone().await else { return };
    for (engines, threads) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let bench = bench_of(&pinned(engines, threads));
        bench.pool.warm_up().await.unwrap();
        if all.len() < (engines * threads) as usize {
            assert!(bench.given().iter().all(|(_, cores, _)| cores.is_empty()), "too few cores bind nothing");
        } else {
            let mut bound: Vec<usize> = bench.given().into_iter().flat_map(|(_, cores, _)| cores).collect();
            bound.sort_unstable();
            assert_eq!(bound, all[..(engines * threads) as usize], "{engines} x {threads}");
        }
        bench.pool.drain().await;
    }
}

#[tokio::test]
async fn fewer_threads_than_asked_for_are_not_bound() {
    let Some((all, _guard)) = alone().await else { return };
    let bench = bench_on(all.len(), &pinned(1, all.len() as u32 + 1));
    bench.pool.warm_up().await.unwrap();
    assert!(bench.given().iter().all(|(_, cores, _)| cores.is_empty()), "{:?}", bench.given());
    assert_eq!(cores(), all, "nothing is leased");
}

#[tokio::test]
async fn a_pool_that_is_dropped_keeps_its_cores_while_an_engine_computes() {
    let Some((all, _guard)) = alone().await else { return };
    let mut bench = bench_of(&pinned(1, 1));
    bench.pool.warm_up().await.unwrap();
    while bench.entered.try_recv().is_ok() {}
    let (release, reply) = bench.busy().await;
    drop(bench.pool);
    assert_eq!(cores(), all[1..], "the engine still runs on its core");
    drop(release);
    drop(reply);
    while cores() != all {
        tokio::task::yield_now().await;
    }
}

/// How many events there were.
struct Events(Arc<AtomicUsize>);

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn too_few_cores_bind_nothing_until_there_are_enough_and_are_told_of_once() {
    let Some((all, _guard)) = alone().await else { return };
    let told = Arc::new(AtomicUsize::new(0));
    let _told = tracing::subscriber::set_default(Events(Arc::clone(&told)));
    let other = Lease::take(all.len());
    let bench = bench_of(&pinned(1, 1));
    bench.pool.warm_up().await.unwrap();
    bench.pool.pin().await;
    assert!(bench.given().is_empty());
    drop(other);
    bench.pool.pin().await;
    bench.pool.pin().await;
    assert!(matches!(&bench.given()[..], [(1, cores, _)] if *cores == all[..1]), "{:?}", bench.given());
    assert_eq!(told.load(Ordering::SeqCst), 1);
    // The engine that follows one that broke has the same.
    assert_eq!(got(bench.ask(PANICS).await), Err((Class::Internal, reason::PANIC)));
    assert_eq!(got(bench.ask(1).await), Ok(1));
    assert_eq!(bench.given()[0], bench.given()[1]);
    bench.pool.drain().await;
    assert_eq!(cores(), all, "a pool that has ended holds no core");
}

/// A store with histories and a catalog of one item.
fn store() -> (tempfile::TempDir, Store, Serves) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = |kind| ArtifactId { kind, name: Name::new("a").unwrap(), version: Version::of([b"x".as_slice()]) };
    let (tokenizer, dataset) = (id(ArtifactKind::Tokenizer), id(ArtifactKind::Dataset));
    let draft = store.draft(&tokenizer).unwrap();
    let item = recmesh_catalog::CatalogItem { id: "i".into(), codes: vec![0], ..Default::default() };
    recmesh_catalog::write(&draft.path().join("catalog.bin"), &[8], &[item]).unwrap();
    draft.commit(Lineage::default()).unwrap();
    let draft = store.draft(&dataset).unwrap();
    recmesh_store::Histories::write(&draft.path().join("histories.bin"), [("u", &[0][..])].into_iter()).unwrap();
    draft.commit(Lineage::default()).unwrap();
    (dir, store, Serves::Tokenize { tokenizer, dataset })
}

/// As a rollout in place lists them: the old pool, both, the new one.
#[tokio::test]
async fn cores_of_a_pool_that_goes_are_handed_to_the_one_that_comes() {
    let Some((all, _guard)) = alone().await else { return };
    let (_dir, store, serves) = store();
    let pool = |name: &str| {
        let params = pinned(all.len() as u32, 1);
        PoolConfig { name: Name::new(name).unwrap(), serves: serves.clone(), params }
    };
    let telemetry = Telemetry::new();
    let host = Host::new(store, telemetry.pool().clone());
    for list in [vec![pool("old")], vec![pool("old"), pool("new")], vec![pool("new")]] {
        host.apply(&WorkerConfig { pools: list }).await.unwrap();
        assert!(host.states().iter().all(|state| state.waiting.is_none()), "{:?}", host.states());
        assert_eq!(cores(), [0; 0], "all are leased");
    }
    host.drain().await;
    assert_eq!(cores(), all);
}
