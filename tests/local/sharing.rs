//! What only one program can have: the state folder and the port.

use std::net::TcpListener;

use super::{
    manifests::{COUNTED, WHOLE},
    program::Desk,
    server::Server,
};

#[test]
fn a_state_folder_has_one_program_at_a_time() {
    let desk = Desk::new(WHOLE);
    let server = Server::start(&desk);
    let holder = format!("process {}", server.child().id());
    let listen = ["--listen", "127.0.0.1:0"];
    desk.with_manifest("up", &listen).refused(1, &[".recmesh", "in use", &holder]);
    desk.train(&[]).refused(1, &[".recmesh", "in use", &holder]);
    desk.run(&["gc"]).refused(1, &[".recmesh", "in use", &holder]);
    assert!(desk.run(&["get"]).good().out.contains("home@"), "reading needs no turn");
    assert_eq!(server.get("/readyz").status, 200, "the first one goes on");
    assert!(desk.path(".recmesh/address").exists(), "a refused program leaves the other's address alone");
    desk.train(&["--state", "another"]).good();
    server.stop("TERM").good();
    desk.train(&[]).good();
}

#[test]
fn a_killed_program_holds_nothing() {
    let desk = Desk::new(WHOLE);
    drop(Server::start(&desk));
    assert!(desk.path(".recmesh/address").exists(), "it could not clean up");
    desk.train(&[]).good();
    Server::start(&desk).stop("TERM").good();
    assert!(!desk.path(".recmesh/address").exists());
}

#[test]
fn a_taken_port_is_told_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let desk = Desk::new(WHOLE);
    desk.with_manifest("up", &["--listen", &address]).refused(1, &[&address, "--listen", "in use"]);
    assert!(!desk.path(".recmesh").exists(), "nothing was made");
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named() {
    let desk = Desk::new(COUNTED);
    desk.write("file", "");
    desk.train(&["--state", "file/state"]).refused(1, &["file/state"]);
    desk.train(&["--state", "file"]).refused(1, &["file"]);
}

#[test]
fn manifests_without_a_pipeline_are_trained_and_not_served() {
    let told = Desk::new(COUNTED).with_manifest("up", &["--listen", "127.0.0.1:0"]).good();
    assert!(told.out.contains("nothing to serve"), "{}", told.out);
}
