//! What a caller gets for a wrong request: a problem document (RFC 9457) that names the field, and never a crash.

use std::{fs, io::Write, net::TcpStream};

use serde_json::{Value, json};

use super::{http, http::Answer, manifests::WHOLE, program::Desk, server::Server};

#[track_caller]
fn check(answer: &Answer, status: u16, reason: &str, field: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.headers.contains("content-type: application/problem+json"), "{}", answer.headers);
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["reason"], reason, "{problem}");
    assert_eq!(problem.get("field").and_then(Value::as_str), field, "{problem}");
    for key in ["type", "title", "detail", "requestId"] {
        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {problem}");
    }
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let desk = Desk::new(WHOLE);
    let server = Server::start(&desk);
    let cases: [(Value, &str); 13] = [
        (json!({"user": "u1", "k": 0}), "k"),
        (json!({"user": "u1", "k": -1}), "k"),
        (json!({"user": "u1", "k": 1.5}), "k"),
        (json!({"user": "u1", "k": 41}), "k"),
        (json!({"user": "u1", "k": u64::MAX}), "k"),
        (json!({"user": "u1", "k": 1e300}), "k"),
        (json!({"user": "u1", "k": "ten"}), "k"),
        (json!({"user": 42}), "user"),
        (json!({"history": "i7"}), "history"),
        (json!({"history": ["i7", 9]}), "history[1]"),
        (json!({"user": "u1", "filters": {"colour": ["red"]}}), "filters.colour"),
        (json!({"user": "u1", "deadlineMs": 0}), "deadlineMs"),
        (json!({"user": "u1", "count": 10}), "count"),
    ];
    for (body, field) in &cases {
        check(&server.post(&body.to_string()), 400, "badField", Some(field));
    }
    for body in ["", "   ", "{", r#"{"user":"u1"}{"#, r#"{"user":"u1","#, "[]", "null", "7", "\u{0}"] {
        check(&server.post(body), 400, "badBody", None);
    }
    check(&http::ask(server.address, "POST", "/v1/recommend", &[0xff, 0xfe, 0x22]), 400, "badBody", None);
    check(&server.post(&"[".repeat(100_000)), 400, "badBody", None);
    check(&server.post(&format!(r#"{{"filters":{}"#, r#"{"a":"#.repeat(100_000))), 400, "badField", Some("filters.a"));
    let neither = server.post("{}");
    assert_eq!(neither.status, 400, "{}", neither.text());
    check(&server.get("/v1/recommend"), 405, "methodNotAllowed", None);
    check(&server.get("/elsewhere"), 404, "noSuchRoute", None);
    let form = "POST /v1/recommend HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 0";
    check(&http::send(server.address, form, b""), 415, "unsupportedMediaType", Some("Content-Type"));
    let late = server.post(r#"{"user":"u1","deadlineMs":1}"#);
    assert!(late.status == 200 || late.status == 504, "{}", late.text());

    server.recommend(&json!({"user": "u1"}));
    assert!(!server.err().contains("panic"), "{}", server.err());
    server.stop("TERM").good();
}

#[test]
fn a_body_of_a_hundred_megabytes_is_refused_and_not_kept() {
    const HUGE: usize = 100_000_000;
    let desk = Desk::new(WHOLE);
    let server = Server::start(&desk);
    let head = format!("POST /v1/recommend HTTP/1.1\r\nContent-Length: {HUGE}");
    check(&http::send(server.address, &head, b""), 413, "bodyTooLarge", None);

    let status = format!("/proc/{}/status", server.child().id());
    let peak = || -> usize {
        let text = fs::read_to_string(&status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let before = peak();
    let piece = vec![b' '; 1 << 20];
    for length in [format!("Content-Length: {HUGE}"), "Transfer-Encoding: chunked".to_owned()] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "POST /v1/recommend HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n").unwrap();
        let chunk = |stream: &mut TcpStream| {
            if length.starts_with('T') {
                write!(stream, "{:x}\r\n", piece.len())?;
            }
            stream.write_all(&piece)?;
            if length.starts_with('T') { stream.write_all(b"\r\n") } else { Ok(()) }
        };
        // It hangs up as soon as it has refused.
        let sent = (0..HUGE / piece.len()).take_while(|_| chunk(&mut stream).is_ok()).count();
        assert!(sent < 90, "{length}: it read {sent} MiB of a body that it refuses");
    }
    assert!(peak() < before + 16_384, "{} KiB before, {} after", before, peak());
    server.recommend(&json!({"user": "u1"}));
}
