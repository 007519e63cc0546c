//! Vectors that somebody else made.
//!
//! In: `.npy`, or `.safetensors` with one matrix; optionally a text file with the item id of each row. Out: one vector
//! for every item, in the order of the items; rows of unknown items are left out. Values are taken as they are.

use std::{collections::HashMap, fs, path::Path};

use recmesh_contract::config::VectorFile;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    TokenizerError, Vectors,
    npy::{self, Matrix},
};

/// One vector an item out of a file below `folder`; `ids[i]` is item `i`'s id as the data set writes it. Without a file
/// of ids, row `i` belongs to the item whose id is the number `i + 1`.
///
/// # Errors
/// When a file is missing or unreadable, is no matrix of floats, names an id twice, has another number of ids than rows,
/// holds a value that is not finite, or lacks items (how many, and the first of them).
pub fn from_file(folder: &Path, file: &VectorFile, ids: &[&str]) -> Result<Vectors, TokenizerError> {
    let path = folder.join(&file.path);
    let bytes = fs::read(&path).map_err(TokenizerError::io(&path))?;
    let (rows, cols, data) = parse(&path, &bytes).map_err(|reason| TokenizerError::format(&path, reason))?;
    let row_of = match &file.ids {
        Some(ids) => rows_by_name(&folder.join(ids), rows)?,
        None => (0..rows).map(|row| ((row + 1).to_string(), row)).collect(),
    };
    let found: Vec<Option<usize>> = ids.iter().map(|&id| row_of.get(id).copied()).collect();
    if let Some(first) = found.iter().position(Option::is_none) {
        let missing = found.iter().filter(|row| row.is_none()).count();
        return Err(TokenizerError::MissingVectors { path, missing, items: ids.len(), first: ids[first].to_owned() });
    }
    let own = found.into_iter().flatten().flat_map(|row| &data[row * cols..(row + 1) * cols]).copied().collect();
    let vectors = Vectors { rows: ids.len(), cols, data: own };
    vectors.check()?;
    Ok(vectors)
}

/// Parses by the file's extension.
fn parse(path: &Path, bytes: &[u8]) -> Result<Matrix, String> {
    let (rows, cols, data) = match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => npy::parse(bytes)?,
        Some("safetensors") => matrix(&SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?)?,
        _ => return Err("its name ends neither in .npy nor in .safetensors".into()),
    };
    if rows == 0 || cols == 0 {
        Err(format!("it is an empty matrix of {rows} × {cols}"))
    } else {
        Ok((rows, cols, data))
    }
}

/// The only matrix of a safetensors file.
fn matrix(tensors: &SafeTensors<'_>) -> Result<Matrix, String> {
    let all = tensors.tensors();
    let mut matrices = all.iter().filter(|(_, view)| view.shape().len() == 2);
    let (Some((name, view)), None) = (matrices.next(), matrices.next()) else {
        let count = all.iter().filter(|(_, view)| view.shape().len() == 2).count();
        return Err(format!("it holds {count} matrices; write one"));
    };
    let data = floats(view)
        .ok_or_else(|| format!("tensor {name:?} holds {:?}; F16, BF16, F32, F64 are read", view.dtype()))?;
    Ok((view.shape()[0], view.shape()[1], data))
}

/// A tensor's values as f32.
fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let halves = |to: fn(u16) -> f32| view.data().as_chunks().0.iter().map(|&b| to(u16::from_le_bytes(b))).collect();
    Some(match view.dtype() {
        Dtype::F16 => halves(npy::half),
        Dtype::BF16 => halves(|bits| f32::from_bits(u32::from(bits) << 16)),
        Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        _ => return None,
    })
}

/// Which row each id of a text file has, a line a row.
fn rows_by_name(path: &Path, rows: usize) -> Result<HashMap<String, usize>, TokenizerError> {
    let text = fs::read_to_string(path).map_err(TokenizerError::io(path))?;
    let mut row_of = HashMap::with_capacity(rows);
    for (row, line) in text.lines().enumerate() {
        if let Some(before) = row_of.insert(line.trim().to_owned(), row) {
            let reason = format!("lines {} and {} name the same item {:?}", before + 1, row + 1, line.trim());
            return Err(TokenizerError::format(path, reason));
        }
    }
    if row_of.len() != rows {
        let reason = format!("{} ids for {rows} vectors; write the id of each row on a line", row_of.len());
        return Err(TokenizerError::format(path, reason));
    }
    Ok(row_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(rows: usize, cols: usize) -> Vec<u8> {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols})}}\n");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        (0..rows * cols).for_each(|i| out.extend((i as f32).to_le_bytes()));
        out
    }

    fn file(path: &str, ids: Option<&str>) -> VectorFile {
        VectorFile { path: path.into(), ids: ids.map(Into::into) }
    }

    #[test]
    fn rows_go_to_their_items() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("v.npy"), npy(3, 2)).unwrap();
        let plain = from_file(dir.path(), &file("v.npy", None), &["3", "1"]).unwrap();
        assert_eq!((plain.rows, plain.cols, plain.data), (2, 2, vec![4.0, 5.0, 0.0, 1.0]));
        fs::write(dir.path().join("ids.txt"), "b\na\nz\n").unwrap();
        let named = from_file(dir.path(), &file("v.npy", Some("ids.txt")), &["a", "b"]).unwrap();
        assert_eq!(named.data, [2.0, 3.0, 0.0, 1.0]);
    }

    #[test]
    fn safetensors_with_one_matrix() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = |shape: Vec<usize>| TensorView::new(Dtype::F32, shape, &bytes).unwrap();
        let write = |name: &str, tensors: Vec<(&str, TensorView<'_>)>| {
            fs::write(dir.path().join(name), safetensors::serialize(tensors, None).unwrap()).unwrap();
        };
        write("one.safetensors", vec![("items", view(vec![2, 2])), ("flat", view(vec![4]))]);
        let read = from_file(dir.path(), &file("one.safetensors", None), &["2"]).unwrap();
        assert_eq!(read.data, [3.0, 4.0]);
        write("two.safetensors", vec![("a", view(vec![2, 2])), ("b", view(vec![2, 2]))]);
        let error = from_file(dir.path(), &file("two.safetensors", None), &["1"]).unwrap_err().to_string();
        assert!(error.contains("two.safetensors: it holds 2 matrices"), "{error}");
        fs::write(dir.path().join("bad.safetensors"), b"\xff\xff\xff\xff\xff\xff\xff\xff{}").unwrap();
        assert!(from_file(dir.path(), &file("bad.safetensors", None), &["1"]).is_err());
    }

    #[test]
    fn refusals_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("v.npy"), npy(3, 2)).unwrap();
        fs::write(dir.path().join("v.csv"), "1,2").unwrap();
        fs::write(dir.path().join("short.txt"), "a\nb\n").unwrap();
        fs::write(dir.path().join("twice.txt"), "a\nb\na\n").unwrap();
        let check = |file: VectorFile, ids: &[&str], wanted: &str| {
            let error = from_file(dir.path(), &file, ids).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error:?} lacks {wanted:?}");
        };
        check(file("v.npy", None), &["1", "4", "x"], "v.npy: 2 of 3 items have no vector; the first is \"4\"");
        check(file("gone.npy", None), &["1"], "gone.npy");
        check(file("v.csv", None), &["1"], "neither in .npy");
        check(file("v.npy", Some("short.txt")), &["a"], "2 ids for 3 vectors");
        check(file("v.npy", Some("twice.txt")), &["a"], "lines 1 and 3 name the same item");
        let mut holed = npy(1, 1);
        let end = holed.len();
        holed[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(dir.path().join("nan.npy"), holed).unwrap();
        check(file("nan.npy", None), &["1"], "not a finite number");
    }
}
