//! The state of a run on disk, so that a killed run goes on as if nothing had happened.
//!
//! ```text
//! state-<step>.safetensors   weights/…  best/…  optimizer/…        written first, under a name not used before
//! checkpoint.json            position, digests, name of the above  then replaced in one step
//! ```
//!
//! In: state after a step. Out: two files of which the second decides; at every moment it names a whole first one. A
//! damaged checkpoint, or one of another run, is refused by name and never started over in silence.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use recmesh_kernels::Params;
use recmesh_sections::{SectionError, write_atomic_with};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::LearningError;
use crate::optimizer::Optimizer;
use crate::position::Position;

const MANIFEST: &str = "checkpoint.json";
const FORMAT: u32 = 1;

/// The checkpoints of one run.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// Digest of everything that the run's result depends on.
    run: String,
}

/// Everything that a step leaves behind.
pub(crate) struct State<'a> {
    pub position: &'a Position,
    pub params: &'a Params,
    pub best: Option<&'a [Vec<f32>]>,
    pub optimizer: &'a Optimizer,
}

/// What a checkpoint gives back; weights and best weights are in the order of the [`Params`].
pub(crate) struct Loaded {
    pub position: Position,
    pub weights: Vec<Vec<f32>>,
    pub best: Option<Vec<Vec<f32>>>,
    pub optimizer: HashMap<String, Vec<f32>>,
    /// The tensors' file, for messages.
    pub path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    format_version: u32,
    /// Digest of `body` as it is written.
    sha256: String,
    body: Body,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    run: String,
    tensors: String,
    tensors_sha256: String,
    position: Position,
}

impl Checkpoints {
    /// Checkpoints in `folder`, which is made when missing.
    pub fn open(folder: &Path, run: String) -> Result<Self, LearningError> {
        fs::create_dir_all(folder).map_err(|source| LearningError::Write { path: folder.to_path_buf(), source })?;
        Ok(Self { folder: folder.to_path_buf(), run })
    }

    /// Writes the state; until it is whole on disk, the previous checkpoint stands.
    pub fn save(&self, state: &State<'_>) -> Result<(), LearningError> {
        let name = format!("state-{}.safetensors", state.position.step);
        let path = self.folder.join(&name);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| LearningError::Write { path, source }
        };
        let tensors = named(state);
        let tensors_sha256 = write_whole(&path, |file| write_tensors(file, &tensors))?;
        let position = state.position.clone();
        let body = Body { run: self.run.clone(), tensors: name.clone(), tensors_sha256, position };
        let manifest = self.folder.join(MANIFEST);
        let json = serde_json::to_vec(&body).and_then(|bytes| {
            let sha256 = hex(&Sha256::digest(&bytes));
            serde_json::to_vec_pretty(&Manifest { format_version: FORMAT, sha256, body })
        });
        let json = json.map_err(|error| failed(&manifest)(io::Error::other(error)))?;
        write_whole(&manifest, |file| file.write_all(&json))?;
        self.remove_others(&name).map_err(failed(&self.folder))
    }

    /// The last checkpoint, or `None` where there is none yet.
    pub fn load(&self, params: &Params) -> Result<Option<Loaded>, LearningError> {
        let path = self.folder.join(MANIFEST);
        let damaged = |path: &Path, reason: String| LearningError::Damaged { path: path.to_path_buf(), reason };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LearningError::Read { path, source }),
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
        if manifest.format_version != FORMAT {
            let reason = format!("format version {} is not {FORMAT}", manifest.format_version);
            return Err(LearningError::Foreign { path, reason });
        }
        let body = serde_json::to_vec(&manifest.body).map_err(|error| damaged(&path, error.to_string()))?;
        if hex(&Sha256::digest(&body)) != manifest.sha256 {
            return Err(damaged(&path, "its content does not match its sha256".into()));
        }
        let Body { run, tensors, tensors_sha256, position } = manifest.body;
        if run != self.run {
            let reason = "model, training parameters or examples differ".into();
            return Err(LearningError::Foreign { path, reason });
        }

        let path = self.folder.join(tensors);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(&path, "it is gone".into())),
            Err(source) => return Err(LearningError::Read { path, source }),
        };
        if hex(&Sha256::digest(&bytes)) != tensors_sha256 {
            return Err(damaged(&path, "its content does not match its sha256".into()));
        }
        let loaded = read_tensors(&bytes, params).map_err(|reason| damaged(&path, reason))?;
        Ok(Some(Loaded { position, weights: loaded.0, best: loaded.1, optimizer: loaded.2, path }))
    }

    /// Removes what earlier or interrupted checkpoints left.
    fn remove_others(&self, keep: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let ours = name.starts_with("state-") || name.ends_with(PARTIAL);
            if ours && name != keep {
                fs::remove_file(self.folder.join(&*name))?;
            }
        }
        Ok(())
    }
}

/// Name, shape and values of every tensor of the state.
fn named<'a>(state: &'a State<'_>) -> Vec<(String, [usize; 2], &'a [f32])> {
    let tensors = state.params.tensors();
    let mut all: Vec<_> =
        tensors.iter().map(|t| (format!("weights/{}", t.name), [t.rows, t.cols], t.data.as_slice())).collect();
    if let Some(best) = state.best {
        all.extend(
            tensors.iter().zip(best).map(|(t, data)| (format!("best/{}", t.name), [t.rows, t.cols], data.as_slice())),
        );
    }
    let optimizer = state.optimizer.state(state.params);
    all.extend(optimizer.into_iter().map(|(name, data)| (format!("optimizer/{name}"), [1, data.len()], data)));
    all
}

type Tensors = (Vec<Vec<f32>>, Option<Vec<Vec<f32>>>, HashMap<String, Vec<f32>>);

/// Weights, best weights and optimizer state out of a file's bytes; an error says what is missing.
fn read_tensors(bytes: &[u8], params: &Params) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let values = |data: &[u8]| -> Vec<f32> {
        data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let shaped = |part: &str| -> Result<Vec<Vec<f32>>, String> {
        let one = |t: &recmesh_kernels::Tensor| {
            let name = format!("{part}/{}", t.name);
            let view = file.tensor(&name).map_err(|error| error.to_string())?;
            let (found, wanted) = (view.shape(), [t.rows, t.cols]);
            if found == wanted { Ok(values(view.data())) } else { Err(format!("{name} is {found:?}, not {wanted:?}")) }
        };
        params.tensors().iter().map(one).collect()
    };
    let best = file.names().iter().any(|name| name.starts_with("best/"));
    let optimizer = file
        .iter()
        .filter_map(|(name, view)| name.strip_prefix("optimizer/").map(|name| (name.to_owned(), values(view.data()))));
    Ok((shaped("weights")?, if best { Some(shaped("best")?) } else { None }, optimizer.collect()))
}

/// Writes the safetensors format (8 bytes of header length, JSON header, data) without a second copy in memory.
fn write_tensors(file: &mut dyn Write, tensors: &[(String, [usize; 2], &[f32])]) -> io::Result<()> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape, data) in tensors {
        let start = end;
        end += size_of_val(*data);
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    tensors.iter().try_for_each(|(_, _, data)| file.write_all(bytemuck::cast_slice(data)))
}

/// How the names of files end that a killed write left behind.
const PARTIAL: &str = ".partial";

/// Writes a file that appears whole or not at all; gives its sha256.
fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String, LearningError> {
    let mut hash = Sha256::new();
    let written = write_atomic_with(path, |file| {
        let mut file = Hashing { file: BufWriter::with_capacity(1 << 20, file), hash: &mut hash };
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|error| match error {
        SectionError::Io { path, source, .. } => LearningError::Write { path, source },
        other => LearningError::Write { path: path.to_path_buf(), source: io::Error::other(other) },
    })?;
    Ok(hex(&hash.finalize()))
}

/// Hashes what passes through.
struct Hashing<'a> {
    file: BufWriter<&'a mut File>,
    hash: &'a mut Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
