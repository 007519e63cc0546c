//! Logs go to standard error, as text for people or as JSON for collectors; standard output stays for results.
//!
//! In: a filter such as `info` or `info,recmesh_pool=debug`, and a format. Out: the process's subscriber. Set once.

use std::{io::IsTerminal, str::FromStr};

use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line of text an event; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LoggingError::Format(text.to_owned())),
        }
    }
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The format is none we write.
    #[error("{0:?} is not a log format: use text or json")]
    Format(String),
    /// The filter cannot be read.
    #[error("{filter:?} is not a log filter: write a level such as info, or target=level pairs with commas between")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is already set.
    #[error("logging has already been started in this process")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// A further layer, such as the exporter of traces. It brings a filter of its own: what it sees does not depend on what
/// is logged.
pub type Extra = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for the whole process; `filter` says what is logged, not what the `extra` layers see.
///
/// # Errors
/// When the filter cannot be read or logging has already been started.
pub fn init(filter: &str, format: Format, extra: Vec<Extra>) -> Result<(), LoggingError> {
    let level =
        EnvFilter::try_new(filter).map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let mut layers = extra;
    layers.push(match format {
        Format::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).with_filter(level).boxed(),
        Format::Json => lines.json().flatten_event(true).with_filter(level).boxed(),
    });
    registry().with(layers).try_init().map_err(LoggingError::Started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_once_and_refuses_nonsense_by_name() {
        assert!(init("a=b=c", Format::Text, vec![]).unwrap_err().to_string().contains("a=b=c"));
        assert!("xml".parse::<Format>().unwrap_err().to_string().contains("xml"));
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        init("warn,recmesh_pool=debug", Format::Json, vec![]).unwrap();
        assert!(matches!(init("info", Format::Text, vec![]), Err(LoggingError::Started(_))));
    }
}
