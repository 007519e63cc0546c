//! Configuration files that the operator writes: JSON, strict, every error with its field.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use crate::console::Wrong;

/// Reads a file as a configuration.
///
/// # Errors
/// When it cannot be read or is not what it should be.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Wrong> {
    let bytes = fs::read(path).map_err(|error| Wrong(format!("cannot read {}: {error}", path.display())))?;
    parse(&bytes).map_err(|error| Wrong(format!("{}: {error}", path.display())))
}

/// The same of bytes that have been read.
///
/// # Errors
/// When they are not what they should be, with the field.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| match error.path().to_string() {
        path if path == "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use recmesh_contract::config::WorkerConfig;

    use super::*;

    #[test]
    fn errors_name_the_field() {
        let wrong = |text: &str| parse::<WorkerConfig>(text.as_bytes()).unwrap_err();
        assert!(wrong("{\"pool\": []}").contains("unknown field `pool`"));
        assert!(wrong("{\"pools\": [{\"name\": \"A\"}]}").starts_with("pools[0].name: \"A\" is not a name"));
        assert!(wrong("{\"pools\": []} {}").contains("trailing characters"));
        assert!(wrong("").contains("EOF"));
        assert_eq!(parse::<WorkerConfig>(b"{\"pools\": []}").unwrap(), WorkerConfig::default());
    }
}
