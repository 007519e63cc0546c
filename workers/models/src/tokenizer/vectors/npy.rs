//! The `.npy` format, as far as a matrix of floats needs it.
//!
//! In: a file's bytes. Out: rows, columns, values as f32; or the reason why not. Reads little-endian f2, f4, f8 in C
//! order, versions 1 to 3; refuses everything else by name.

/// A parsed matrix: rows, columns, values.
pub(super) type Matrix = (usize, usize, Vec<f32>);

const MAGIC: &[u8] = b"\x93NUMPY";

/// Parses a two-dimensional array.
pub(super) fn parse(bytes: &[u8]) -> Result<Matrix, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("not an .npy file: it does not begin with \\x93NUMPY")?;
    let (&[major, _minor], rest) = rest.split_first_chunk::<2>().ok_or("cut off within its header")?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk::<2>().map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
        other => return Err(format!("version {other} of the .npy format is unknown; versions 1 to 3 are read")),
    }
    .ok_or("cut off within its header")?;
    let (header, data) = rest.split_at_checked(length).ok_or("cut off within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;

    let kind = quoted(after(header, "descr")?)?;
    if after(header, "fortran_order")?.starts_with("True") {
        return Err("it is in Fortran order; write numpy.ascontiguousarray(array)".into());
    }
    let (rows, cols) = shape(after(header, "shape")?)?;
    let decode: (usize, fn(&[u8]) -> f32) = match kind {
        "<f2" => (2, |b| half(u16::from_le_bytes([b[0], b[1]]))),
        "<f4" => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        "<f8" => (8, |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32),
        other => return Err(format!("its values are {other:?}; little-endian floats <f2, <f4, <f8 are read")),
    };
    let size = rows.checked_mul(cols).and_then(|n| n.checked_mul(decode.0)).ok_or("its shape is beyond any memory")?;
    if data.len() != size {
        return Err(format!("{rows} × {cols} values of {kind} are {size} bytes, but {} follow the header", data.len()));
    }
    Ok((rows, cols, data.chunks_exact(decode.0).map(decode.1).collect()))
}

/// What follows `'key':` in the header.
fn after<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let found = [format!("'{key}'"), format!("\"{key}\"")].iter().find_map(|k| header.split_once(k.as_str()));
    let value = found.and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
    Ok(value.ok_or_else(|| format!("its header has no {key:?}"))?.trim_start())
}

/// A quoted word.
fn quoted(text: &str) -> Result<&str, String> {
    let mut parts = text.splitn(3, ['\'', '"']);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(""), Some(word), Some(_)) => Ok(word),
        _ => Err("its values are records; a matrix of floats is read".into()),
    }
}

/// `(rows, cols)`.
fn shape(text: &str) -> Result<(usize, usize), String> {
    let inner = text.strip_prefix('(').and_then(|t| t.split_once(')')).ok_or("its header has no readable shape")?.0;
    let sizes: Result<Vec<usize>, _> =
        inner.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::parse).collect();
    match sizes.map_err(|_| "its header has no readable shape")?.as_slice() {
        &[rows, cols] => Ok((rows, cols)),
        other => Err(format!("it has {} dimensions; a matrix with one row an item has two", other.len())),
    }
}

/// An IEEE half as f32; exact.
pub(super) fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([version, 0]);
        match version {
            1 => out.extend((header.len() as u16).to_le_bytes()),
            _ => out.extend((header.len() as u32).to_le_bytes()),
        }
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    fn header(kind: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}          \n")
    }

    #[test]
    fn floats_of_all_widths_and_versions() {
        let halves: Vec<u8> = [0x3c00u16, 0xc000, 0x0001, 0x7bff].iter().flat_map(|h| h.to_le_bytes()).collect();
        let parsed = parse(&file(1, &header("<f2", "False", "(2, 2)"), &halves)).unwrap();
        assert_eq!(parsed, (2, 2, vec![1.0, -2.0, 2f32.powi(-24), 65504.0]));
        let singles: Vec<u8> = [1.5f32, -0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(parse(&file(2, &header("<f4", "False", "(1, 2)"), &singles)).unwrap(), (1, 2, vec![1.5, -0.25]));
        let doubles: Vec<u8> = [0.1f64, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(parse(&file(3, &header("<f8", "False", "(2, 1)"), &doubles)).unwrap(), (2, 1, vec![0.1, 3.0]));
    }

    #[test]
    fn halves_are_exact() {
        assert_eq!(half(0x0000), 0.0);
        assert!(half(0x8000).is_sign_negative() && half(0x8000) == 0.0);
        assert_eq!(half(0x03ff), 1023.0 * 2f32.powi(-24));
        assert_eq!(half(0x0400), 2f32.powi(-14));
        assert_eq!(half(0x3555), 0.333_251_95);
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn refusals_say_why() {
        let data = [0u8; 16];
        let check = |bytes: &[u8], wanted: &str| {
            let reason = parse(bytes).unwrap_err();
            assert!(reason.contains(wanted), "{reason:?} lacks {wanted:?}");
        };
        check(b"PK\x03\x04", "not an .npy file");
        check(&file(9, "", &[]), "version 9");
        check(&file(1, &header("<f4", "True", "(2, 2)"), &data), "Fortran order");
        check(&file(1, &header(">f4", "False", "(2, 2)"), &data), "\">f4\"");
        check(&file(1, &header("<i8", "False", "(2, 1)"), &data), "\"<i8\"");
        check(&file(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}", &data), "records");
        check(&file(1, &header("<f4", "False", "(4,)"), &data), "1 dimensions");
        check(&file(1, &header("<f4", "False", "(4, x)"), &data), "shape");
        check(&file(1, &header("<f4", "False", "(3, 2)"), &data), "24 bytes, but 16");
        check(&file(1, &header("<f4", "False", "(9223372036854775807, 8)"), &data), "beyond any memory");
        check(&file(1, "{}", &data), "no \"descr\"");
        let whole = file(1, &header("<f4", "False", "(2, 2)"), &data);
        assert!(parse(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
