//! What may go: everything that no kept artifact was made from. In: what to keep. Out: what was removed.
//!
//! Decides before it removes: a kept artifact whose inputs cannot be read stops everything.

use std::collections::BTreeSet;

use recmesh_contract::ArtifactId;

use crate::{Result, Store, artifact::read_manifest};

pub fn collect(store: &Store, keep: &BTreeSet<ArtifactId>) -> Result<Vec<ArtifactId>> {
    let mut kept = BTreeSet::new();
    let mut open: Vec<ArtifactId> = keep.iter().cloned().collect();
    while let Some(id) = open.pop() {
        // What is not made yet has no inputs; its checkpoints are kept all the same.
        if store.contains(&id) && !kept.contains(&id) {
            open.extend(read_manifest(&store.path(&id), &id)?.inputs);
        }
        kept.insert(id);
    }
    let (mut removed, listed) = (Vec::new(), store.list()?);
    for id in listed.into_iter().filter(|id| !kept.contains(id)) {
        store.remove(&id)?;
        removed.push(id);
    }
    for id in store.checkpoints()? {
        if !kept.contains(&id) || store.contains(&id) {
            store.remove_checkpoints(&id)?;
        }
    }
    Ok(removed)
}
