//! A long-running process of a cluster: started, listened to line by line, asked to stop.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{
    http::{self, Answer},
    program::{Desk, signal},
};
use crate::told::Told;

/// A running program; killed when dropped.
pub struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    said: String,
    err: PathBuf,
}

impl Process {
    /// Starts the program. Both of its outputs are heard: standard error goes to standard output.
    pub fn start(desk: &Desk, words: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let err = desk.path(&format!("process-{}.err", COUNT.fetch_add(1, Relaxed)));
        let mut command = desk.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&err).unwrap()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, said: String::new(), err }
    }

    /// Reads what it says until a line begins like this; gives the rest of the line.
    #[track_caller]
    pub fn until(&mut self, begin: &str) -> String {
        loop {
            let start = self.said.len();
            if self.out.read_line(&mut self.said).unwrap() == 0 {
                let _ = self.child.wait();
                panic!("it ended before it said {begin:?}: {}{}", self.said, self.err());
            }
            if let Some(rest) = self.said[start..].strip_prefix(begin) {
                return rest.trim_end().to_owned();
            }
        }
    }

    /// What it has said on standard error so far.
    pub fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its end.
    pub fn end(mut self) -> Told {
        self.out.read_to_string(&mut self.said).unwrap();
        let code = self.child.wait().unwrap().code();
        Told { code, out: std::mem::take(&mut self.said), err: self.err() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `GET` on an admin port.
pub fn get(admin: SocketAddr, path: &str) -> Answer {
    http::ask(admin, "GET", path, b"")
}
