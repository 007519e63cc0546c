//! The API server's audit log. In: who, since when. Out: what they asked for, in the order of the answers.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;

use super::Cluster;

/// A place in the log: what comes after it is read.
pub struct Audit {
    from: u64,
}

/// One request with its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: User,
    /// What was asked for; nothing for paths that are no resources.
    #[serde(default)]
    pub object_ref: Target,
    /// The answer.
    #[serde(default)]
    pub response_status: Answer,
    /// When it was asked, RFC 3339.
    pub request_received_timestamp: String,
    /// When it was answered, RFC 3339.
    pub stage_timestamp: String,
    /// What was stored; kept for leases only.
    #[serde(default)]
    pub response_object: Value,
}

/// Who asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Empty for one whose token is not known (any more); `system:serviceaccount:<namespace>:<name>` or a certificate's name.
    pub username: String,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    /// The group; empty for the core one.
    pub api_group: String,
    /// The plural.
    pub resource: String,
    /// `status`, `scale`.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object.
    pub name: String,
}

/// The answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
}

impl Entry {
    /// Whether something was to be changed.
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it was done.
    pub fn done(&self) -> bool {
        (200..300).contains(&self.response_status.code)
    }

    /// `group/resource/subresource verb`, as a rule of RBAC would allow it.
    pub fn right(&self) -> String {
        let Target { api_group, resource, subresource, .. } = &self.object_ref;
        let part = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        format!("{api_group}/{part} {}", self.verb)
    }
}

impl Audit {
    /// From now on.
    pub fn begin() -> Self {
        Self { from: Self::file().metadata().unwrap().len() }
    }

    fn file() -> File {
        let path = Cluster::logs().join("audit.log");
        File::open(&path).unwrap_or_else(|e| panic!("{}: {e}; start the cluster with AUDIT_POLICY", path.display()))
    }

    /// Everything up to now.
    pub async fn entries(&self, cluster: &Cluster) -> Vec<Entry> {
        // An entry is written about when its answer is sent. A question of our own that is in the log tells that what
        // was answered before it is there too; further questions are the pace of looking again.
        let mark = format!("mark-{}", Instant::now().elapsed().as_nanos() + u128::from(std::process::id()));
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let _ = cluster.all("Namespace").get_opt(&mark).await.unwrap();
            let entries = self.read();
            if entries.iter().any(|entry| entry.object_ref.name == mark) {
                return entries.into_iter().filter(|entry| !entry.object_ref.name.starts_with("mark-")).collect();
            }
            assert!(Instant::now() < until, "the audit log does not show our question {mark}");
        }
    }

    /// What one user asked for, up to now.
    pub async fn of(&self, cluster: &Cluster, user: &str) -> Vec<Entry> {
        self.entries(cluster).await.into_iter().filter(|entry| entry.user.username == user).collect()
    }

    fn read(&self) -> Vec<Entry> {
        let mut file = Self::file();
        file.seek(SeekFrom::Start(self.from)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// The rights that were used, and the ones that were refused.
pub fn rights(entries: &[Entry]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (refused, used): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| matches!(entry.response_status.code, 401 | 403));
    let named = |entries: &[&Entry]| entries.iter().map(|entry| entry.right()).collect::<BTreeSet<_>>();
    // A patch that makes an object needs the right to create it too.
    let made = used.iter().filter(|entry| entry.verb == "patch" && entry.response_status.code == 201);
    let created = made.map(|entry| entry.right().replace(" patch", " create"));
    (named(&used).into_iter().chain(created).collect(), named(&refused))
}
