//! Two replicas: never two leaders acting. In: replicas that are killed, frozen and stopped while resources change. Out:
//! from the audit log, whether every write was made by the one that held the lease.

use crate::{
    control::{Tended, others::dataset},
    harness::{Account, Audit, Entry, Object, Process},
};

/// Short, so that the test need not wait long for a lease to run out.
const TIMES: [&str; 3] = ["leaderElection.duration=4s", "leaderElection.renew=3s", "leaderElection.retry=500ms"];
const ROUNDS: usize = 9;

/// A replica: its account, and the process of its present life.
struct Replica {
    name: &'static str,
    account: Account,
    lives: usize,
    process: Option<Process>,
}

impl Replica {
    fn new(name: &'static str, account: Account) -> Self {
        Self { name, account, lives: 0, process: None }
    }

    fn start(&mut self, tended: &Tended) {
        self.lives += 1;
        let life = format!("{}-{}", self.name, self.lives);
        self.process = Some(tended.release.start_as(&tended.space, &life, &self.account));
    }

    /// Whether an identity is one of its lives.
    fn bears(&self, identity: &str) -> bool {
        identity.starts_with(&format!("{}-", self.name))
    }
}

/// Waits until somebody other than `former` holds the lease.
async fn holder(tended: &Tended, former: &str) -> String {
    let of = |lease: &Object| lease.data["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let another = |lease: Option<&Object>| lease.map(of).is_some_and(|holder| !holder.is_empty() && holder != former);
    of(&tended.space.when("Lease", "recmesh-operator", "has another holder", another).await)
}

#[tokio::test]
async fn only_the_holder_of_the_lease_writes() {
    let audit = Audit::begin();
    let tended = Tended::untended("leaders", &TIMES).await;
    let twin = tended.release.twin(&tended.space, "twin").await;
    let mut replicas = [Replica::new("one", tended.release.operator().clone()), Replica::new("two", twin)];
    replicas.iter_mut().for_each(|replica| replica.start(&tended));

    let mut leader = holder(&tended, "").await;
    for round in 0..ROUNDS {
        // Work that is under way when the leader is lost.
        for number in 0..6 {
            tended.space.apply(&dataset(&format!("world-{number}"), u32::try_from(round).unwrap())).await;
        }
        let leading = replicas.iter_mut().find(|replica| replica.bears(&leader)).unwrap();
        let process = leading.process.take().unwrap();
        match round % 3 {
            0 => {
                process.kill();
                leading.start(&tended);
                leader = holder(&tended, &leader).await;
            }
            1 => {
                process.freeze();
                leader = holder(&tended, &leader).await;
                // It wakes up in the belief that it leads, in the middle of what it was doing.
                process.resume();
                leading.process = Some(process);
            }
            _ => {
                assert!(process.stop().success(), "a replica that is asked to end ends well");
                leading.start(&tended);
                leader = holder(&tended, &leader).await;
            }
        }
    }
    for number in 0..6 {
        tended.space.ready("Dataset", &format!("world-{number}")).await;
    }

    let entries = audit.entries(&tended.space.cluster).await;
    let here: Vec<&Entry> = entries.iter().filter(|entry| entry.object_ref.namespace == tended.space.name).collect();
    let held = holders(&here);
    assert!(held.len() > ROUNDS, "the lease changed hands: {held:#?}");
    let mut writes = [0; 2];
    for entry in here.iter().filter(|entry| entry.writes() && entry.done() && entry.object_ref.resource != "leases") {
        let Some(index) = replicas.iter().position(|replica| replica.account.user == entry.user.username) else {
            continue;
        };
        writes[index] += 1;
        // From the request to its answer the lease was its own: nobody else's record lies before or between.
        let mut records = held.iter().rev().skip_while(|(since, _)| *since > entry.request_received_timestamp);
        let before = records.next().map(|(_, holder)| holder.as_str()).unwrap_or_default();
        let between = held.iter().find(|(since, holder)| {
            let span = &entry.request_received_timestamp..&entry.stage_timestamp;
            span.contains(&since) && !holder.is_empty() && !replicas[index].bears(holder)
        });
        let name = replicas[index].name;
        assert!(
            replicas[index].bears(before) && between.is_none(),
            "{name} wrote while {before} led: {entry:#?} {held:#?}"
        );
    }
    assert!(writes.iter().all(|count| *count > 10), "both have acted: {writes:?}");
    println!("measured: {} leaders in turn, {writes:?} writes, each by the holder of the lease", held.len());
}

/// Who held the lease from when on, by the times at which the API server had stored it.
fn holders(entries: &[&Entry]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.object_ref.resource == "leases" && entry.writes() && entry.done())
    {
        let holder = entry.response_object["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        if found.last().is_none_or(|(_, last)| *last != holder) {
            found.push((entry.stage_timestamp.clone(), holder));
        }
    }
    found
}
