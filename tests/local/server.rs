//! `recmesh up` as a child process: started until it says where it serves, stopped by a signal.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
};

use serde_json::Value;

use super::{
    http::{self, Answer},
    program::{Desk, signal},
};
use crate::told::Told;

/// A serving program; killed when dropped.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    said: String,
    err: PathBuf,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Server {
    /// Runs `recmesh up` until it serves on a free port.
    pub fn start(desk: &Desk) -> Self {
        Self::start_with(desk, &[])
    }

    /// The same with more arguments.
    pub fn start_with(desk: &Desk, more: &[&str]) -> Self {
        let err = desk.path("up.err");
        let mut child = desk
            .command(&[&["up", "-f", "manifest.yaml", "--listen", "127.0.0.1:0"], more].concat())
            .stdout(Stdio::piped())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            if out.read_line(&mut said).unwrap() == 0 {
                let _ = child.wait();
                panic!("it ended before it served: {said}{}", fs::read_to_string(&err).unwrap());
            }
            if let Some(rest) = said[start..].strip_prefix("serving on http://") {
                break rest.split_whitespace().next().unwrap().parse().unwrap();
            }
        };
        Self { child, out, said, err, address }
    }

    /// The process.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// What it has said on standard error so far.
    pub fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// `POST /v1/recommend`.
    pub fn post(&self, body: &str) -> Answer {
        http::ask(self.address, "POST", "/v1/recommend", body.as_bytes())
    }

    /// `POST /v1/recommend` that must be answered.
    #[track_caller]
    pub fn recommend(&self, body: &Value) -> Value {
        let answer = self.post(&body.to_string());
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer.json()
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        http::ask(self.address, "GET", path, b"")
    }

    /// Stops it by a signal and waits for its end.
    pub fn stop(mut self, name: &str) -> Told {
        signal(&self.child, name);
        self.out.read_to_string(&mut self.said).unwrap();
        let code = self.child.wait().unwrap().code();
        Told { code, out: std::mem::take(&mut self.said), err: self.err() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ids of an answer's items, best first.
pub fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}
