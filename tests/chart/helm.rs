//! Running `helm`: from values to objects.
//!
//! In: files of values. Out: parsed objects, or what helm said against them. Never speaks to a cluster.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde::Deserialize;
use serde_json::Value;

/// The namespace that everything is rendered for.
pub const NAMESPACE: &str = "recmesh";

/// The chart's folder.
pub fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/recmesh")
}

/// The program, if there is one.
pub fn program() -> Option<PathBuf> {
    let home = env::var_os("CLUSTER_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/recmesh-cluster")));
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).chain(home.map(|home| home.join("bin"))).map(|folder| folder.join("helm"));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no helm in PATH or $CLUSTER_HOME/bin, so the chart is not rendered");
    }
    found
}

/// What helm renders for a release, or what it says.
pub fn template(helm: &Path, release: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(helm)
        .args(["template", release])
        .arg(chart())
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The objects in rendered text.
pub fn parse(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).filter(|object| !object.is_null()).collect()
}

/// One file of values and the objects it gives.
pub struct Case {
    /// The file's name without `-values.yaml`; `default` for none.
    pub name: String,
    /// What it sets.
    pub values: Value,
    /// What comes out.
    pub objects: Vec<Value>,
}

impl Case {
    /// Objects of a kind.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of a kind and name.
    pub fn one(&self, kind: &str, name: &str) -> &Value {
        let found = self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{}: no {kind} {name}", self.name))
    }
}

/// Every file of values in `ci`, by path and content.
pub fn values() -> Vec<(PathBuf, Value)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(chart().join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &PathBuf| serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    files.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// The chart rendered with its defaults and with every file of values; nothing where there is no helm.
pub fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| program().map(|helm| render(&helm)).unwrap_or_default())
}

fn render(helm: &Path) -> Vec<Case> {
    let plain = Case {
        name: "default".to_owned(),
        values: Value::Object(serde_json::Map::new()),
        objects: parse(&template(helm, "recmesh", &[]).unwrap()),
    };
    let mut cases = vec![plain];
    for (path, values) in values() {
        let name = path.file_name().unwrap().to_string_lossy().trim_end_matches("-values.yaml").to_owned();
        let text = template(helm, "recmesh", &["--values", path.to_str().unwrap()]);
        let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
        cases.push(Case { name, values, objects: parse(&text) });
    }
    cases
}

/// The rendered case of a name, where there is a helm.
pub fn case(name: &str) -> Option<&'static Case> {
    let found = cases().iter().find(|case| case.name == name);
    assert!(found.is_some() || cases().is_empty(), "no file of values {name}");
    found
}
