//! What the steps hand to each other.
//!
//! ```text
//! dereference ─► Closure ─► validate ─► Valid ─► plan ─► Planned ─► releases ─► Wanted (a route, Generations)
//!                                  └──────── Objection ◄────┘
//! ```

use std::collections::BTreeMap;

use recmesh_contract::{
    ArtifactId, JobReport, Name,
    config::{Affinity, JobConfig, PodParams, PoolConfig, PoolPlace, Route, ServingParams},
};
use recmesh_crds::{Kind, Located};
use recmesh_plan::{JobKey, Valid};

/// A resource by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Puts a key together.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Why nothing can be done yet, or at all: a condition's reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// From [`crate::reason`].
    pub reason: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Objection {
    /// Puts an objection together.
    #[must_use]
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A resource with all that it refers to, over any number of steps.
#[derive(Clone, Debug, Default)]
pub struct Closure {
    /// Everything there is, in the order that local mode would read it in.
    pub resources: Vec<Located>,
    /// What is referred to and is not there.
    pub missing: Vec<Missing>,
}

/// A reference that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Who refers.
    pub from: Key,
    /// The field, as people write it.
    pub path: String,
    /// What is referred to. A `TrainingJob` without a name where none names the model `from`.
    pub to: Key,
}

/// What the jobs of a closure are told, and what they have made.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The meaning of the closure.
    pub valid: Valid,
    /// What each job has made of its configuration of now.
    pub made: BTreeMap<JobKey, ArtifactId>,
    /// What each job is told, where everything that it is made from is made.
    pub configs: BTreeMap<JobKey, JobConfig>,
    /// Every job after everything that it is made from.
    pub order: Vec<(JobKey, Vec<JobKey>)>,
}

/// What a pipeline should serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its route, with generations for pools.
    pub route: Route,
    /// The generations, each once.
    pub generations: Vec<Generation>,
}

/// A pool in one version and one way of running.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The resource that is served, which owns the pool.
    pub owner: Key,
    /// The pool.
    pub pool: String,
    /// Eight hexadecimal digits.
    pub hex: String,
    /// What workers are told; its name is the generation's.
    pub config: PoolConfig,
    /// The version that is served.
    pub version: String,
    /// Where its workers are found; the name of its objects.
    pub place: PoolPlace,
}

impl Generation {
    /// The generation's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.config.name
    }

    /// Whether workers swap generations of this pool in place: its objects are not called after the generation.
    #[must_use]
    pub fn in_place(&self) -> bool {
        self.place.service != self.config.name
    }

    /// The value of its workers' generation label: workers that swap generations in place bear none of them.
    #[must_use]
    pub fn label(&self) -> &str {
        match (self.in_place(), self.stable()) {
            (false, _) => &self.hex,
            (true, false) => "in-place",
            (true, true) => "in-place-user",
        }
    }

    /// Whether its workers keep stable names.
    #[must_use]
    pub fn stable(&self) -> bool {
        self.place.affinity == Affinity::User
    }
}

/// What a resource asks of the pods of its workers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many, and how a new version takes over.
    pub serving: ServingParams,
    /// What each asks of a node.
    pub pod: PodParams,
}

/// Where the job of a resource stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It has made what it should.
    Made {
        /// The version.
        version: String,
        /// What it told, while its pod is there to ask.
        report: Option<Box<JobReport>>,
        /// Whether the status says so already.
        noted: bool,
    },
    /// There is no Job yet.
    Absent,
    /// There is a Job, and its resource asks it to wait.
    Suspended,
    /// There is a Job, and its queue has not admitted it.
    Queued,
    /// No pod of it runs.
    Pending(Option<Trouble>),
    /// A pod of it runs.
    Running {
        /// What it told last.
        report: Option<Box<JobReport>>,
        /// What went wrong before.
        trouble: Option<Trouble>,
    },
    /// It has failed for good.
    Failed(Trouble),
    /// It is complete, and nobody knows what it made.
    Lost,
}

/// What is wrong with a pod and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// From [`crate::reason`].
    pub reason: &'static str,
    /// The pod, the cause, the remedy.
    pub message: String,
}
