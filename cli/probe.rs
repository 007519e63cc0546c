//! `recmesh probe URL`: asks once over HTTP and succeeds when the answer is 200. For test pods, which have no shell.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    args::Probe,
    console::{self, Wrong},
};

/// Time for everything: looking the name up, connecting, the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const LONGEST: u64 = 1 << 20;

/// Asks and prints the answer's body.
///
/// # Errors
/// When the URL is none that can be asked, nobody answers in time, or the answer is another than 200.
pub fn run(options: &Probe) -> Result<()> {
    let uri = &options.url;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http"));
    let host = host.ok_or_else(|| Wrong(format!("{uri}: write http://host:port/path")))?;
    let port = uri.port_u16().unwrap_or(80);
    let (host, path) = (host.to_owned(), uri.path_and_query().map_or("/", |path| path.as_str()).to_owned());
    // Looking a name up cannot be limited from here, so all of it happens on a thread that is left behind.
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("probe".to_owned()).spawn(move || tell.send(ask(&host, port, &path)))?;
    let answer = told.recv_timeout(LIMIT).with_context(|| format!("{uri}: no answer within {} s", LIMIT.as_secs()))?;
    let answer = answer.with_context(|| format!("{uri}: nobody answers"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut line = head.lines().next().unwrap_or_default().split(' ');
    match (line.next(), line.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => {
            console::say(body.trim_end());
            Ok(())
        }
        (Some(version), Some(status)) if version.starts_with("HTTP/1.") => {
            bail!("{uri}: answered {status}: {}", body.trim_end())
        }
        _ => bail!("{uri}: the answer is not HTTP"),
    }
}

fn ask(host: &str, port: u16, path: &str) -> Result<String> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (plain, port).to_socket_addrs()?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(LIMIT))?;
                // HTTP/1.0: the answer is not in chunks and ends with the connection.
                write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: */*\r\n\r\n")?;
                let mut answer = Vec::new();
                stream.take(LONGEST).read_to_end(&mut answer)?;
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("{host} has no address"), Into::into))
}
