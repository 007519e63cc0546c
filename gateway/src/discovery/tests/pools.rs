//! Pools elsewhere that do as they are told: ready when they have workers and were not told to be cold.
//!
//! A reply bears its pool's name, and a retrieve pool refuses a context of another version's tokenizer: a request that
//! mixed two releases would fail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use recmesh_contract::{Call, Class, Context, Done, Failure, Item, Name, Reply, Stage, Work, config::Affinity, reason};
use recmesh_wire::Endpoint;
use tokio::sync::watch;

use super::super::pools::{Connect, Workers};

/// Every pool that was connected.
#[derive(Clone, Default)]
pub(super) struct Fakes(Arc<Mutex<Vec<Weak<Fake>>>>);

/// One of them.
pub(super) struct Fake {
    pub(super) pool: Name,
    pub(super) affinity: Affinity,
    pub(super) endpoints: watch::Receiver<Vec<Endpoint>>,
    pub(super) cold: AtomicBool,
    pub(super) calls: AtomicUsize,
    /// What it fails with instead of an answer.
    pub(super) fails: Mutex<Option<(Class, &'static str)>>,
}

impl Fakes {
    pub(super) fn connect(&self) -> Connect {
        let own = self.clone();
        Arc::new(move |pool, affinity, endpoints| -> Arc<dyn Workers> {
            let cold = AtomicBool::new(false);
            let fake = Fake { pool, affinity, endpoints, cold, calls: AtomicUsize::new(0), fails: Mutex::default() };
            let fake = Arc::new(fake);
            own.0.lock().unwrap().push(Arc::downgrade(&fake));
            fake
        })
    }

    /// The living pools of this name.
    pub(super) fn all(&self, pool: &str) -> Vec<Arc<Fake>> {
        let fakes = self.0.lock().unwrap();
        fakes.iter().filter_map(Weak::upgrade).filter(|fake| fake.pool.as_str() == pool).collect()
    }

    /// The one living pool of this name.
    pub(super) fn one(&self, pool: &str) -> Arc<Fake> {
        let mut all = self.all(pool);
        assert_eq!(all.len(), 1, "{pool}");
        all.remove(0)
    }

    /// Calls that each living pool got, by name.
    pub(super) fn calls(&self) -> BTreeMap<String, usize> {
        let fakes = self.0.lock().unwrap();
        let living = fakes.iter().filter_map(Weak::upgrade);
        living.map(|fake| (fake.pool.to_string(), fake.calls.load(Ordering::SeqCst))).collect()
    }
}

impl Fake {
    /// Waits until it was told of these workers, by name.
    pub(super) async fn until_told(&self, names: &[&str]) {
        let mut endpoints = self.endpoints.clone();
        let told = |now: &Vec<Endpoint>| now.iter().map(|endpoint| endpoint.name.as_str()).eq(names.iter().copied());
        endpoints.wait_for(told).await.unwrap();
    }
}

impl Workers for Fake {
    fn waiting(&self) -> Option<String> {
        match (self.endpoints.borrow().is_empty(), self.cold.load(Ordering::SeqCst)) {
            (true, _) => Some("no worker is known".to_owned()),
            (_, true) => Some("a worker loads its weights".to_owned()),
            _ => None,
        }
    }
}

impl Stage for Fake {
    fn call(&self, call: Call) -> Reply {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let pool = self.pool.to_string();
        let failure = *self.fails.lock().unwrap();
        let done = match (failure, call.work) {
            (Some((class, reason)), _) => Err(Failure::new(class, reason, "secret diagnostic")),
            (None, Work::Tokenize(_)) => {
                // The context says whose it is.
                let user = Some(0);
                let history = pool.trim_start_matches("tok-").bytes().map(u32::from).collect();
                Ok(Done::Context(Arc::new(Context { user, history, unknown: 0, exclude: vec![], allowed: None })))
            }
            (None, Work::Retrieve { context, candidates, .. }) => {
                let version: Vec<u32> = pool.trim_start_matches("ret-").bytes().map(u32::from).collect();
                match version == context.history || pool == "pop" {
                    true => Ok(Done::Items((0..candidates).map(|rank| item(&pool, rank)).collect())),
                    false => Err(Failure::new(Class::Internal, reason::WRONG_REPLY, "two releases in one request")),
                }
            }
            _ => Err(Failure::new(Class::Internal, reason::WRONG_REPLY, "not asked of these pools")),
        };
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            done
        })
    }

    fn ready(&self) -> bool {
        self.waiting().is_none()
    }
}

fn item(pool: &str, rank: usize) -> Item {
    let id = if rank == 0 { pool.to_owned() } else { format!("{pool}-{rank}") };
    Item { id, title: None, score: 1.0 / (1.0 + rank as f32), semantic_id: vec![], tasks: BTreeMap::new() }
}
