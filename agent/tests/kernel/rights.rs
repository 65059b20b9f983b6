//! A process without rights is told so.

use std::{env, process::Command};

use log_capturer::kernel::{Kernel, Options, RefusalKind};

use super::fixture;

const INSIDE: &str = "LEDGER_TEST_INSIDE";

#[test]
fn without_capabilities_the_refusal_says_what_to_grant() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    if fixture().is_none() {
        return;
    }
    let output = Command::new("setpriv")
        .args(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"])
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "rights::without_capabilities_the_refusal_says_what_to_grant",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .output()
        .expect("setpriv (util-linux)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("refused: "), "{said}");
}

fn inside() {
    let Err(refusal) = Kernel::attach(&Options::default()) else {
        panic!("attached without a capability")
    };
    assert_eq!(refusal.kind, RefusalKind::Rights, "{refusal}");
    assert!(refusal.to_string().contains("grant CAP_BPF, CAP_PERFMON"), "{refusal}");
    println!("refused: {refusal}");
}
