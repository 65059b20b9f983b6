//! A host that has not mounted tracefs.

use std::{env, path::Path, process::Command};

use rustix::mount::{UnmountFlags, unmount};

use super::fixture;

const INSIDE: &str = "LEDGER_TEST_INSIDE";

#[test]
fn not_mounted_it_is_mounted_for_the_attach_alone() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    if fixture().is_none() {
        return;
    }
    let output = Command::new("unshare")
        .arg("--mount")
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "tracefs::not_mounted_it_is_mounted_for_the_attach_alone",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("attached without tracefs"), "{said}");
}

fn inside() {
    let mounted = || Path::new("/sys/kernel/tracing/events").exists();
    // debugfs mounts it inside itself when someone looks there.
    for path in ["/sys/kernel/debug", "/sys/kernel/tracing"] {
        // EINVAL: not mounted.
        let _ = unmount(path, UnmountFlags::DETACH);
    }
    assert!(!mounted() && !Path::new("/sys/kernel/debug/tracing").exists());
    let fixture = fixture().expect("it could be attached with tracefs");
    let (client, _server) = fixture.pair();
    assert_eq!(fixture.checked().connections.len(), 1);
    drop(client);
    assert!(!mounted(), "the process sees what it saw before");
    println!("attached without tracefs");
}
