//! A process in a pid namespace of its own, where it calls itself by another number than the host does.

use std::{env, process::Command};

use super::{fixture, inode};

const INSIDE: &str = "LEDGER_TEST_INSIDE";

#[test]
fn its_own_pid_namespace() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    // Not before the fixture: where nothing can be attached, that is the reason to give.
    if fixture().is_none() {
        return;
    }
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "namespace::its_own_pid_namespace", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("as process 1: socket:["), "{said}");
}

fn inside() {
    let fixture = fixture().expect("it could be attached outside");
    let (client, _server) = fixture.pair();
    assert!(fixture.kernel.holds(inode(&client)).unwrap());
    assert_eq!(fixture.checked().connections.len(), 1);
    println!("as process {}: socket:[{}]", std::process::id(), inode(&client));
    drop(client);
    assert!(fixture.checked().connections.is_empty());
}
