//! The program takes every command line that the chart writes, flag by flag.

use std::process::Command;

use super::helm::cases;

#[test]
fn the_program_takes_the_charts_arguments() {
    let mut seen = Vec::new();
    for case in cases() {
        let pods = case.objects.iter().filter_map(|object| {
            let pod = if object["kind"] == "Pod" { &object["spec"] } else { &object["spec"]["template"]["spec"] };
            pod["containers"].as_array()
        });
        for container in pods.flatten() {
            let arguments: Vec<&str> =
                container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
            if seen.contains(&arguments) {
                continue;
            }
            // An unknown flag or a wrong value is refused before help is given; nothing is started.
            let output = Command::new(env!("CARGO_BIN_EXE_recmesh")).args(&arguments).arg("--help").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: recmesh {}: {said}", case.name, arguments.join(" "));
            seen.push(arguments);
        }
    }
}
