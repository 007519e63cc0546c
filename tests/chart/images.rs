//! The image and the bundle as files: the same from the same, nothing of the machine in them, and damage is found.
//!
//! Needs python3, bash and tar; says aloud when they are missing. No program is built: a small file stands for it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::helm::chart;

/// Whether the scripts can run here.
fn able() -> bool {
    let runs =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let able = ["python3", "bash", "tar"].into_iter().all(runs);
    if !able {
        eprintln!("SKIPPED: no python3, bash or tar, so no image is made");
    }
    able
}

fn script(name: &str) -> PathBuf {
    chart().parent().unwrap().join("image").join(name)
}

fn run(program: &Path, arguments: &[&Path]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

/// A root file system whose files are made in the given order with the given rights.
fn folder(names: &[&str], mode: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
    fs::create_dir_all(folder.path().join("tmp")).unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::write(&path, format!("this is {name}")).unwrap();
        let mode = if name.contains("bin/") { mode | 0o100 } else { mode };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    folder
}

fn image(root: &Path, out: &Path) {
    let output = run(&script("mkimage.py"), &[out, Path::new("localhost/recmesh:7"), root]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_same_files_make_the_same_image() {
    if !able() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let [one, two, other] = ["one", "two", "other"].map(|name| work.path().join(name));
    image(folder(&["usr/bin/recmesh", "about"], 0o644).path(), &one);
    image(folder(&["about", "usr/bin/recmesh"], 0o600).path(), &two);
    image(folder(&["about", "usr/bin/recmesh", "more"], 0o644).path(), &other);
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    assert_ne!(fs::read(&one).unwrap(), fs::read(&other).unwrap());
    let bytes = String::from_utf8_lossy(&fs::read(&one).unwrap()).into_owned();
    for said in ["\"User\":\"65532:65532\"", "\"Entrypoint\":[\"/usr/bin/recmesh\"]", "localhost/recmesh:7"] {
        assert!(bytes.contains(said), "{said}");
    }
}

#[test]
fn a_bundle_that_was_changed_is_refused() {
    if !able() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let [packed, state, tar, bundle] =
        ["chart.tgz", "state", "image.tar", "b.tar.gz"].map(|name| work.path().join(name));
    fs::write(&packed, "a chart").unwrap();
    fs::create_dir_all(state.join("artifacts/Dataset")).unwrap();
    fs::write(state.join("artifacts/Dataset/world"), "rows").unwrap();
    image(folder(&["usr/bin/recmesh"], 0o644).path(), &tar);
    let output = run(&script("bundle.sh"), &[Path::new("7"), &packed, &tar, &state, &bundle]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let unpacked = |name: &str| -> PathBuf {
        let place = work.path().join(name);
        fs::create_dir(&place).unwrap();
        assert!(run(Path::new("tar"), &[Path::new("-xzf"), &bundle, Path::new("-C"), &place]).status.success());
        place.join("recmesh-7")
    };
    let whole = |folder: &Path| run(&folder.join("verify.sh"), &[]).status.success();
    let folder = unpacked("whole");
    assert!(whole(&folder));
    for file in ["README.md", "samples/quickstart-artifacts.tar.gz", "examples/quickstart.yaml", "crds/pipelines.yaml"]
    {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let folder = unpacked("changed");
    fs::write(folder.join("recmesh-chart-7.tgz"), "another chart").unwrap();
    assert!(!whole(&folder), "a changed file");
    let folder = unpacked("missing");
    fs::remove_file(folder.join("crds/pipelines.yaml")).unwrap();
    assert!(!whole(&folder), "a missing file");
    let folder = unpacked("added");
    fs::write(folder.join("crds/more.yaml"), "more").unwrap();
    assert!(!whole(&folder), "an added file");
}
