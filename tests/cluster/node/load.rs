//! Sixteen callers that ask without pause and check every answer. In: the gateways' Service. Out: what they got.
//!
//! An answer is right when it is 200, has as many different items as asked for, best first, comes from the pipeline that
//! was asked, and is wholly of one release. How often a connection saw the release change is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{Answer, Client, Connections};

/// Callers at once.
pub const CALLERS: usize = 16;
/// Items of an answer.
pub const ITEMS: usize = 10;
/// Users of the quickstart's world.
const USERS: usize = 2000;
/// Failures that are kept in full.
const KEPT: usize = 10;
/// How long callers may take for what is waited for.
const SOON: Duration = Duration::from_secs(120);

/// Callers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Seen>>,
    began: Instant,
}

struct Shared {
    address: SocketAddr,
    pipelines: Vec<String>,
    answers: watch::Sender<Vec<u64>>,
    /// Every release by its name, as the first answer told it.
    releases: Mutex<BTreeMap<String, Value>>,
}

impl Shared {
    /// A release as the first answer that bears its name told it.
    fn known(&self, name: &str, release: &Value) -> Value {
        let mut releases = self.releases.lock().unwrap();
        releases.entry(name.to_owned()).or_insert_with(|| release.clone()).clone()
    }
}

/// What one caller has seen.
#[derive(Default)]
struct Seen {
    connections: Connections,
    took: Vec<Duration>,
    fallbacks: u64,
    switches: usize,
    wrong: Vec<String>,
    failures: u64,
}

/// What all callers got.
pub struct Tally {
    /// Right answers.
    pub answers: usize,
    /// Questions without a right answer.
    pub failures: u64,
    /// Some of these, told in full.
    pub wrong: Vec<String>,
    /// What happened to connections.
    pub connections: Connections,
    /// Names of the releases that answered.
    pub releases: BTreeSet<String>,
    /// Answers by a pipeline's fallback.
    pub fallbacks: u64,
    /// Most changes of a pipeline's release that one connection saw.
    pub switches: usize,
    took: Vec<Duration>,
    lasted: Duration,
}

impl Load {
    /// Sets callers to work on these pipelines, in turns.
    pub fn start(address: SocketAddr, pipelines: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            address,
            pipelines: pipelines.iter().map(|name| (*name).to_owned()).collect(),
            answers: watch::Sender::new(vec![0; CALLERS]),
            releases: Mutex::default(),
        });
        let callers = (0..CALLERS).map(|number| {
            let (stop, shared) = (stop.clone(), shared.clone());
            thread::spawn(move || call(number, &shared, &stop))
        });
        Self { callers: callers.collect(), stop, shared, began: Instant::now() }
    }

    /// Waits until every caller has got this many further answers.
    pub async fn more(&self, each: u64) {
        let mut answers = self.shared.answers.subscribe();
        let goals: Vec<u64> = answers.borrow().iter().map(|count| count + each).collect();
        let there = |counts: &Vec<u64>| counts.iter().zip(&goals).all(|(count, goal)| count >= goal);
        let waited = tokio::time::timeout(SOON, answers.wait_for(there)).await;
        assert!(waited.is_ok(), "not every caller got {each} answers within {SOON:?}");
    }

    /// Lets callers finish their last questions.
    pub fn end(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let lasted = self.began.elapsed();
        let seen: Vec<Seen> = self.callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        let mut all = Connections::default();
        for Connections { opened, told, lost, refused, cut } in seen.iter().map(|seen| seen.connections) {
            all.opened += opened;
            all.told += told;
            all.lost += lost;
            all.refused += refused;
            all.cut += cut;
        }
        let mut took: Vec<Duration> = seen.iter().flat_map(|seen| seen.took.clone()).collect();
        took.sort();
        Tally {
            answers: took.len(),
            failures: seen.iter().map(|seen| seen.failures).sum(),
            wrong: seen.iter().flat_map(|seen| seen.wrong.clone()).take(KEPT).collect(),
            connections: all,
            releases: self.shared.releases.lock().unwrap().keys().cloned().collect(),
            fallbacks: seen.iter().map(|seen| seen.fallbacks).sum(),
            switches: seen.iter().map(|seen| seen.switches).max().unwrap_or_default(),
            took,
            lasted,
        }
    }
}

impl Tally {
    /// Prints what was measured.
    pub fn print(&self, what: &str) {
        let Connections { opened, told, lost, refused, cut } = self.connections;
        let at = |share: f64| {
            let last = self.took.len().saturating_sub(1);
            self.took.get((last as f64 * share) as usize).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        println!(
            "measured: {what}: {} right answers to {CALLERS} callers in {:.1} s ({:.0}/s; p50 {:.1} ms, p99 {:.1} ms, \
             longest {:.0} ms), {} failed, {} by the fallback; connections: {opened} opened, {told} closed as told, \
             {lost} lost and replaced, {cut} cut before their first answer, {refused} refused; releases {:?}, at most {} changes seen on a connection",
            self.answers,
            self.lasted.as_secs_f64(),
            self.answers as f64 / self.lasted.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(1.0),
            self.failures,
            self.fallbacks,
            self.releases,
            self.switches,
        );
    }

    /// Asserts that every question got its right answer.
    #[track_caller]
    pub fn assert_right(&self) {
        assert!(self.failures == 0, "{} questions without a right answer, such as {:#?}", self.failures, self.wrong);
        assert!(self.answers > CALLERS, "callers asked next to nothing");
    }

    /// Asserts that no connection ended under a question either.
    #[track_caller]
    pub fn assert_undisturbed(&self) {
        self.assert_right();
        let Connections { lost, cut, refused, .. } = self.connections;
        assert_eq!((lost, cut, refused), (0, 0, 0), "connections ended under a question, or were refused");
    }
}

fn call(number: usize, shared: &Shared, stop: &AtomicBool) -> Seen {
    let mut client = Client::new(shared.address);
    let mut seen = Seen::default();
    // On this connection: the releases of each pipeline, in the order in which they came.
    let mut turns: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut opened = 0;
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let pipeline = shared.pipelines[(number + round) % shared.pipelines.len()].as_str();
        let user = (number * 131 + round * 17) % USERS;
        let question = json!({"user": format!("u{user}"), "k": ITEMS, "pipeline": pipeline});
        let began = Instant::now();
        let answer = client.recommend(&question);
        let took = began.elapsed();
        let judged = answer.map_err(|error| error.to_string()).and_then(|answer| judge(&answer, pipeline, shared));
        if client.connections.opened != opened {
            opened = client.connections.opened;
            turns.clear();
        }
        match judged {
            Ok((release, fallback)) => {
                let turns = turns.entry(pipeline).or_default();
                if turns.last() != Some(&release) {
                    turns.push(release);
                }
                seen.switches = seen.switches.max(turns.len() - 1);
                seen.took.push(took);
                seen.fallbacks += u64::from(fallback);
                shared.answers.send_modify(|counts| counts[number] += 1);
            }
            Err(wrong) => {
                seen.failures += 1;
                if seen.wrong.len() < KEPT {
                    seen.wrong.push(format!("{question} after {took:?}: {wrong}"));
                }
            }
        }
    }
    seen.connections = client.connections;
    seen
}

/// The release that answered and whether its fallback did; or what is wrong with the answer.
fn judge(answer: &Answer, pipeline: &str, shared: &Shared) -> Result<(String, bool), String> {
    let body = answer.json();
    let wrong = |what: &str| Err(format!("{what}: {} {body}", answer.status));
    if answer.status != 200 {
        return wrong("not 200");
    }
    let items = body["items"].as_array().map_or(&[][..], Vec::as_slice);
    let ids: BTreeSet<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
    if ids.len() != ITEMS || items.len() != ITEMS {
        return wrong("not as many items as asked for");
    }
    if !items.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64()) {
        return wrong("not best first");
    }
    let release = &body["release"];
    let name = release["name"].as_str().unwrap_or_default();
    if !name.starts_with(&format!("{pipeline}@")) {
        return wrong("not the pipeline that was asked");
    }
    let known = shared.known(name, release);
    if known != *release {
        return wrong(&format!("parts of two releases, for {name} is {known}"));
    }
    Ok((name.to_owned(), !body["fallback"].is_null()))
}
