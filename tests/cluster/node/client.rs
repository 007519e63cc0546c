//! One caller with a connection that it keeps open. In: questions. Out: answers, and what it took to get them.
//!
//! A connection that ends before its answer is replaced once and the question asked again. The new one may still lead to
//! the process that is ending, whose port closes last: one that never answered anything is replaced once more.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long an answer may take; far beyond any deadline of a pipeline.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long connecting may take in all; an address whose process is gone refuses until the node has noticed.
const CONNECTING: Duration = Duration::from_secs(10);

/// What happened to a caller's connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connections {
    /// Opened.
    pub opened: u64,
    /// Closed by the gateway as an answer had said.
    pub told: u64,
    /// Lost with a question on its way, which was asked again on another.
    pub lost: u64,
    /// Refused while opening.
    pub refused: u64,
    /// Opened to a process that was ending, and cut before their first answer.
    pub cut: u64,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
    last: bool,
}

impl Answer {
    /// The body as JSON; a text that is none as that text.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| Value::from(self.body.as_str()))
    }
}

/// One caller.
pub struct Client {
    address: SocketAddr,
    open: Option<BufReader<TcpStream>>,
    /// What happened to its connections.
    pub connections: Connections,
}

impl Client {
    /// A caller that is not connected yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, open: None, connections: Connections::default() }
    }

    /// Asks `POST /v1/recommend`.
    ///
    /// # Errors
    /// When further connections were lost over the one question, none could be opened, or nothing came.
    pub fn recommend(&mut self, question: &Value) -> io::Result<Answer> {
        let body = question.to_string();
        let head = format!(
            "POST /v1/recommend HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = head + &body;
        let mut losses = 0;
        loop {
            let (mut connection, fresh) = match self.open.take() {
                Some(connection) => (connection, false),
                None => (self.connect()?, true),
            };
            match exchange(&mut connection, &request) {
                Ok(answer) if answer.last => {
                    self.connections.told += 1;
                    return Ok(answer);
                }
                Ok(answer) => {
                    self.open = Some(connection);
                    return Ok(answer);
                }
                Err(error) if losses == 2 || error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if fresh => self.connections.cut += 1,
                Err(_) => self.connections.lost += 1,
            }
            losses += 1;
        }
    }

    fn connect(&mut self) -> io::Result<BufReader<TcpStream>> {
        let until = Instant::now() + CONNECTING;
        loop {
            match TcpStream::connect_timeout(&self.address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    self.connections.opened += 1;
                    return Ok(BufReader::new(stream));
                }
                Err(_) if Instant::now() < until => self.connections.refused += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> io::Result<Answer> {
    connection.get_mut().write_all(request.as_bytes())?;
    let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer");
    let (mut status, mut length, mut last) = (None, 0, false);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        let line = line.trim_end().to_ascii_lowercase();
        match (status, line.split_once(": ")) {
            (None, _) => status = Some(line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?),
            (_, Some(("content-length", value))) => length = value.parse().map_err(io::Error::other)?,
            (_, Some(("connection", value))) => last = value == "close",
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Answer { status: status.ok_or_else(broken)?, body, last })
}
