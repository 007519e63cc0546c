//! `recmesh dataset generate`: a planted world as files.

use anyhow::{Context, Result};
use recmesh_contract::config::Source;

use crate::{
    args::{Dataset, Generate},
    console::{self, Wrong},
    manifests,
};

/// Makes data sets.
///
/// # Errors
/// When the Dataset is not there or not planted, or the folder cannot be written.
pub fn run(command: &Dataset) -> Result<()> {
    let Dataset::Generate(options) = command;
    generate(options)
}

fn generate(options: &Generate) -> Result<()> {
    let checked = manifests::read(&options.manifests)?;
    let names: Vec<String> = checked.valid.datasets.keys().map(ToString::to_string).collect();
    let name = match (&options.name, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => {
            return Err(Wrong(format!("--name: which Dataset? The manifests have {}", names.join(", "))).into());
        }
    };
    let params = (checked.valid.datasets.iter())
        .find_map(|(known, params)| (known.as_str() == name).then_some(params))
        .ok_or_else(|| Wrong(format!("the manifests have no Dataset {name}; they have {}", names.join(", "))))?;
    anyhow::ensure!(
        matches!(params.source, Source::Planted(_)),
        "Dataset {name} reads files: only a planted one can be generated"
    );
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    recmesh_data::planted::write_files(name, params, &options.out, options.format.into())?;
    console::say(&format!("written to {}; `dataset.yaml` there reads it", options.out.display()));
    Ok(())
}
