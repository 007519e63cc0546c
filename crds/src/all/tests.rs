//! What Kubernetes and users ask of the definitions, and that the committed files are current.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::*;
use crate::schema::each;

/// The committed files are what the types say; `UPDATE=1` rewrites them.
#[test]
fn committed_yaml_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let mut known = BTreeSet::new();
    for (kind, crd) in Kind::ALL.into_iter().zip(all()) {
        let file = format!("{}.yaml", crd.spec.names.plural);
        let path = folder.join(&file);
        if update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, document(kind)).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == document(kind),
            "{file} is not what the types say: run UPDATE=1 cargo test -p recmesh-crds"
        );
        known.insert(file);
    }
    let present: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(present, known, "crds/yaml holds the file of every kind and nothing else");
}

/// Client-side `kubectl apply` stores the object in an annotation of at most 256 KiB.
#[test]
fn definitions_are_small() {
    for kind in Kind::ALL {
        let bytes = document(kind).len();
        assert!(bytes < 256 * 1024, "{kind} has {bytes} bytes");
    }
    assert!(yaml().len() < 300_000, "all definitions have {} bytes", yaml().len());
}

/// What Kubernetes asks of a structural schema, at every node.
#[test]
fn schemas_are_structural() {
    for kind in Kind::ALL {
        let mut schema = definition(kind).schema.clone();
        let mut nodes = 0;
        each(&mut schema, &mut |node| {
            nodes += 1;
            let text = serde_json::to_string(node).unwrap();
            assert!(node.contains_key("type"), "{kind}: a node without a type: {text:.300}");
            for banned in ["$ref", "oneOf", "anyOf", "allOf", "not", "nullable", "prefixItems", "unevaluatedProperties"]
            {
                assert!(!node.contains_key(banned), "{kind}: {banned} in {text:.300}");
            }
            assert_ne!(node.get("additionalProperties"), Some(&Value::Bool(false)), "{kind}: {text:.300}");
            let both = node.contains_key("properties") && node.contains_key("additionalProperties");
            assert!(!both, "{kind}: fields and free keys in one object: {text:.300}");
            if node["type"] == "integer" {
                let format = node.get("format").and_then(Value::as_str);
                assert!(matches!(format, Some("int32" | "int64")), "{kind}: {format:?} in {text:.300}");
            }
        });
        assert!(nodes > 20, "{kind} has a schema");
    }
}

/// The YAML stream says what the typed definitions say.
#[test]
fn yaml_reads_back_as_the_definitions() {
    let read: Vec<CustomResourceDefinition> =
        yaml().split("---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    assert_eq!(read, all());
    assert_eq!(read.len(), Kind::ALL.len());
}

/// What users read in `kubectl explain`: every field of every spec, the arms of a choice too.
#[test]
fn every_field_is_described() {
    for kind in Kind::ALL {
        let mut spec = definition(kind).schema.pointer("/properties/spec").unwrap().clone();
        each(&mut spec, &mut |node| {
            let Some(Value::Object(fields)) = node.get("properties") else { return };
            for (name, field) in fields {
                let text = field.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(text.ends_with('.'), "{kind}: field {name} has no description: {text:?}");
                assert!(!text.contains('\n') || text.contains("\n\n"), "{kind}: {name} keeps line breaks");
            }
        });
    }
}

/// Columns, names and the status merge keys that tools rely on.
#[test]
fn definitions_follow_the_conventions() {
    for (crd, short) in all().iter().zip(["rds", "tok", "rm", "rkm", "tj", "ej", "pl"]) {
        assert_eq!(crd.spec.group, "recmesh.dev");
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!(crd.spec.names.short_names.as_deref(), Some([short.to_owned()].as_slice()));
        assert_eq!(crd.spec.names.categories.as_deref(), Some(["recmesh".to_owned()].as_slice()));
        let version = &crd.spec.versions[0];
        assert_eq!(version.name, "v1alpha1");
        assert!(version.subresources.as_ref().is_some_and(|s| s.status.is_some()), "{short} has a status");
        let columns = version.additional_printer_columns.as_deref().unwrap_or_default();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert!(matches!(names[0], "Ready" | "Complete"), "{names:?}");
        assert_eq!((names[1], names[names.len() - 1]), ("Reason", "Age"));
        let json = serde_json::to_value(crd).unwrap();
        let conditions = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions";
        let conditions = json.pointer(conditions).unwrap();
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
    }
}
