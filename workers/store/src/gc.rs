//! What may go: everything that no kept artifact was made from. In: what to keep. Out: what can go.
//!
//! Decides before it removes: a kept artifact whose inputs cannot be read stops everything.

use std::collections::BTreeSet;

use recmesh_contract::ArtifactId;

use crate::{Result, Store};

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
        if kept.insert(id.clone()) {
            open.extend(store.manifest(&id)?.map(|manifest| manifest.inputs).unwrap_or_default());
        }
    }
    let (all, mut checkpoints) = (store.list()?, store.checkpoints()?);
    checkpoints.retain(|id| !kept.contains(id) || all.contains(id));
    let artifacts = all.into_iter().filter(|id| !kept.contains(id)).collect();
    Ok(Garbage { artifacts, checkpoints })
}

pub fn remove(store: &Store, garbage: &Garbage) -> Result<()> {
    garbage.artifacts.iter().try_for_each(|id| store.remove(id))?;
    garbage.checkpoints.iter().try_for_each(|id| store.remove_checkpoints(id))
}
