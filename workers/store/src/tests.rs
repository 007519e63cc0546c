//! What the store keeps comes back whole, or is refused with the file and the reason.

mod artifacts;
mod garbage;
mod histories;
#[cfg(feature = "object-store")]
mod objects;
mod run_state;

use recmesh_contract::{ArtifactId, ArtifactKind, Metric, Name, Version};

use crate::{Artifact, Lineage, Result, Store, write_atomic};

fn id(kind: ArtifactKind, name: &str, version: &str) -> ArtifactId {
    ArtifactId { kind, name: Name::new(name).unwrap(), version: Version::of([version.as_bytes()]) }
}

fn metric(value: f64) -> Metric {
    Metric { name: "ndcg@10".into(), value, interval: None, split: None, masking: None, of: None }
}

fn lineage(inputs: &[&ArtifactId]) -> Lineage {
    Lineage {
        inputs: inputs.iter().map(|&id| id.clone()).collect(),
        data_digest: Some("sha256:00".into()),
        seed: Some(7),
        config: serde_json::json!({ "width": 64, "alpha": 0.1 }),
        metrics: vec![metric(0.125)],
    }
}

fn commit(store: &Store, id: &ArtifactId, inputs: &[&ArtifactId], bytes: &[u8]) -> Result<Artifact> {
    let draft = store.draft(id)?;
    write_atomic(&draft.path().join("model.safetensors"), bytes)?;
    write_atomic(&draft.path().join("empty.bin"), b"")?;
    draft.commit(lineage(inputs))
}

#[cfg(not(feature = "object-store"))]
#[test]
fn without_the_feature_a_uri_is_refused_with_its_name() {
    use crate::Place;
    let place = Place::parse("s3://models/a".as_ref()).unwrap();
    let Place::Bucket(bucket) = place else { panic!("{place:?}") };
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open_bucket(&bucket, [], folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("s3://models/a: ") && error.contains("--features object-store"), "{error}");
}
