//! What a finished program said, for every test that runs one.
//!
//! In: its output. Out: assertions on how it ended.

use std::process::Output;

/// What a finished program said.
#[derive(Debug)]
pub struct Told {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Told {
    /// Asserts that the program succeeded.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Asserts the exit code and that standard error holds every part.
    #[track_caller]
    pub fn refused(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {}", self.err);
        }
        self
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("programs here write UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}
