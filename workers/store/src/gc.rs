//! What may go: everything that no kept artifact was made from. In: what to keep. Out: what can go.
//!
//! Decides before it removes: a kept artifact whose inputs cannot be read stops everything.

use std::collections::BTreeSet;

use recmesh_contract::ArtifactId;

use crate::{Result, Store, artifact::read_manifest};

/// What nothing needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Artifacts.
    pub artifacts: Vec<ArtifactId>,
    /// Artifacts, finished or not, whose checkpoints nobody will go on from.
    pub checkpoints: Vec<ArtifactId>,
}

pub fn find(store: &Store, keep: &BTreeSet<ArtifactId>) -> Result<Garbage> {
    let mut kept = BTreeSet::new();
    let mut open: Vec<ArtifactId> = keep.iter().cloned().collect();
    while let Some(id) = open.pop() {
        // What is not made yet has no inputs; its checkpoints are kept all the same.
        if store.contains(&id) && !kept.contains(&id) {
            open.extend(read_manifest(&store.path(&id), &id)?.inputs);
        }
        kept.insert(id);
    }
    let (mut artifacts, mut checkpoints) = (store.list()?, store.checkpoints()?);
    artifacts.retain(|id| !kept.contains(id));
    checkpoints.retain(|id| !kept.contains(id) || store.contains(id));
    Ok(Garbage { artifacts, checkpoints })
}

pub fn remove(store: &Store, garbage: &Garbage) -> Result<()> {
    garbage.artifacts.iter().try_for_each(|id| store.remove(id))?;
    garbage.checkpoints.iter().try_for_each(|id| store.remove_checkpoints(id))
}
