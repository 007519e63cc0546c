//! Every value of the chart does something: taking it back to its default changes what is rendered.
//!
//! In: `values.yaml` and the files of values, which together set every value to something else. A value that no file
//! sets, or that changes nothing, is found. What is set to what the chart refuses is refused with a reason.

use std::{fs, io::Write, path::Path, sync::Mutex, thread};

use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::helm::{chart, program, template, values};

/// Paths of all values: maps are entered, empty ones and lists are values.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map.iter().for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            leaves(value, &format!("{path}/{key}"), found);
        }),
        None => found.push(path.to_owned()),
    }
}

/// The values without the one at a path, so that it has its default.
fn without(values: &Value, path: &str) -> Value {
    fn remove(values: &mut Value, keys: &[String]) {
        let Some(map) = values.as_object_mut() else { return };
        match keys {
            [] => {}
            [last] => drop(map.remove(last)),
            [first, rest @ ..] => map.get_mut(first).into_iter().for_each(|inner| remove(inner, rest)),
        }
    }
    let keys: Vec<String> = path.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    let mut values = values.clone();
    remove(&mut values, &keys);
    values
}

fn values_file(values: &Value) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(serde_json::to_string(values).unwrap().as_bytes()).unwrap();
    file
}

fn render(helm: &Path, values: &Value) -> Result<String, String> {
    let file = values_file(values);
    template(helm, "recmesh", &["--values", file.path().to_str().unwrap_or_default()])
}

#[test]
fn every_value_changes_what_is_rendered() {
    let Some(helm) = program() else { return };
    let defaults: Value = serde_yaml::from_str(&fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap();
    let mut paths = Vec::new();
    leaves(&defaults, "", &mut paths);
    let files: Vec<(Value, String)> =
        values().into_iter().map(|(_, values)| (values.clone(), render(&helm, &values).unwrap())).collect();

    let unused = Mutex::new(Vec::new());
    let check = |path: &String| {
        let default = defaults.pointer(path);
        let mut set =
            files.iter().filter(|(values, _)| values.pointer(path).is_some_and(|value| Some(value) != default));
        // Where the default alone would be refused, such as two operators without election, the value does something.
        let used =
            set.any(|(values, rendered)| render(&helm, &without(values, path)).map_or(true, |text| text != *rendered));
        if !used {
            unused.lock().unwrap().push(path.clone());
        }
    };
    thread::scope(|scope| {
        for part in paths.chunks(paths.len().div_ceil(4)) {
            scope.spawn(move || part.iter().for_each(check));
        }
    });
    assert!(paths.len() > 80, "{paths:?}");
    let unused = unused.into_inner().unwrap();
    assert!(unused.is_empty(), "no file in ci sets them, or they change nothing: {unused:?}");
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let Some(helm) = program() else { return };
    let refused = [
        (vec!["unknown=1"], "unknown"),
        (vec!["gateway.replica=3"], "replica"),
        (vec!["networkPolicy.clients[0].podSelectr.a=b"], "podSelectr"),
        (vec!["store.claim=a", "store.uri=s3://b"], "give one of store.claim, store.uri"),
        (vec!["store.secretRef=a"], "give store.uri"),
        (vec!["leaderElection.enabled=false"], "set operator.replicas to 1"),
        (vec!["leaderElection.duration=15"], "duration"),
        (vec!["image.digest=abc"], "digest"),
        (vec!["watchNamespaces[0]=Not_A_Name"], "watchNamespaces"),
        (vec!["gateway.service.type=ExternalName"], "type"),
    ];
    for (settings, reason) in refused {
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let error = template(&helm, "recmesh", &arguments).expect_err(&format!("{settings:?} is taken"));
        assert!(error.contains(reason), "{settings:?}: {error}");
    }
}

#[test]
fn helm_finds_nothing_to_say() {
    let Some(helm) = program() else { return };
    let output = std::process::Command::new(helm).args(["lint", "--strict"]).arg(chart()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn removing_a_value_removes_only_it() {
    let values = serde_json::json!({"a": {"b": 1, "c/d": 2}, "e": []});
    assert_eq!(without(&values, "/a/c~1d"), serde_json::json!({"a": {"b": 1}, "e": []}));
    let mut found = Vec::new();
    leaves(&values, "", &mut found);
    found.sort();
    assert_eq!(found, ["/a/b", "/a/c~1d", "/e"]);
    leaves(&Value::Object(Map::new()), "/f", &mut found);
    assert_eq!(found.last().unwrap(), "/f");
}
