//! What each capability is needed for: the table in `docs/rights.md`, line by line.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
};

use log_capturer::kernel::{Kernel, RefusalKind, Tier};

use super::{fixture, options};

const INSIDE: &str = "LEDGER_TEST_INSIDE";
/// The test that a child runs.
const ENTRY: &str = "rights::a_user_attaches_with_three_capabilities_and_not_with_one_less";
const NOBODY: u32 = 65534;
const ROOT: u32 = 0;

/// Mounted in a namespace of the child's own.
const MOUNTED: &str = "[ -d /sys/kernel/tracing/events ] || mount -t tracefs nodev /sys/kernel/tracing";
const UNMOUNTED: &str = "umount -l /sys/kernel/debug 2>/dev/null; umount -l /sys/kernel/tracing 2>/dev/null; :";

/// This binary where an ordinary user may execute it.
struct Copy(PathBuf);

impl Copy {
    fn make() -> Self {
        let directory = env::temp_dir().join(format!("ledger-rights-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("open it");
        let program = directory.join("tests");
        // By another process: a child that is forked meanwhile would inherit a descriptor that writes to it (ETXTBSY).
        let copied = Command::new("cp")
            .arg(env::current_exe().expect("its own path"))
            .arg(&program)
            .status();
        assert!(copied.expect("cp").success());
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("open it");
        Self(program)
    }

    /// What came of an attach by that user with these capabilities and no other.
    fn attach(&self, user: u32, capabilities: &[&str], tracefs: &str) -> String {
        let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        // Else the kernel would give user 0 all that the bounding set has, which is this.
        let ambient = if user == ROOT { "-all" } else { &format!("-all{set}") };
        let script = format!(
            "{tracefs}; exec setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all{set} \
             --ambient-caps={ambient} --bounding-set=-all{set} \"$0\" --exact {ENTRY} --nocapture"
        );
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(&self.0)
            .env(INSIDE, "1")
            .current_dir("/")
            .output()
            .expect("unshare and setpriv (util-linux)");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find_map(|line| line.split_once("came of it: "));
        let Some((_, what)) = line else {
            panic!("{said}{}", String::from_utf8_lossy(&output.stderr))
        };
        what.to_owned()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.parent().map(fs::remove_dir_all);
    }
}

fn inside() {
    match Kernel::attach(&options()) {
        Ok(kernel) => {
            kernel.snapshot().expect("and it can be read");
            println!("came of it: attached");
        }
        Err(refusal) => {
            assert_eq!(refusal.kind, RefusalKind::Rights, "{refusal}");
            println!("came of it: {refusal}");
        }
    }
}

/// Refused with words that name what to grant, and what was tried.
#[track_caller]
fn assert_refused(came: &str, tried: &str) {
    assert!(came.contains("grant CAP_BPF, CAP_PERFMON"), "{came}");
    assert!(came.contains(tried), "{tried:?} is not in {came:?}");
}

/// Whether the tier in force needs tracefs; nothing where none is.
fn takes_tracefs() -> Option<bool> {
    Some(fixture()?.kernel.tier() == Tier::Tracepoint)
}

#[test]
fn a_user_attaches_with_three_capabilities_and_not_with_one_less() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let Some(takes_tracefs) = takes_tracefs() else { return };
    let tests = Copy::make();
    let all = ["bpf", "perfmon", "dac_read_search"];
    assert_eq!(tests.attach(NOBODY, &all, MOUNTED), "attached");
    assert_refused(&tests.attach(NOBODY, &all[1..], MOUNTED), "create the kernel maps");
    assert_refused(
        &tests.attach(NOBODY, &["bpf", "dac_read_search"], MOUNTED),
        "load the program",
    );
    let two = tests.attach(NOBODY, &all[..2], MOUNTED);
    if takes_tracefs {
        assert_refused(&two, "/sys/kernel/tracing");
    } else {
        assert_eq!(two, "attached");
    }
    assert_refused(&tests.attach(NOBODY, &[], MOUNTED), "Permission denied");
}

#[test]
fn user_0_owns_tracefs_and_needs_two_capabilities() {
    if fixture().is_none() {
        return;
    }
    let tests = Copy::make();
    assert_eq!(tests.attach(ROOT, &["bpf", "perfmon"], MOUNTED), "attached");
    assert_refused(&tests.attach(ROOT, &[], MOUNTED), "create the kernel maps");
}

#[test]
fn where_tracefs_is_not_mounted_it_takes_the_right_to_mount() {
    let Some(takes_tracefs) = takes_tracefs() else { return };
    let tests = Copy::make();
    let came = tests.attach(ROOT, &["bpf", "perfmon"], UNMOUNTED);
    if !takes_tracefs {
        return assert_eq!(came, "attached");
    }
    assert_refused(&came, "mount tracefs, which the host has not mounted");
    assert!(came.contains("CAP_SYS_ADMIN where tracefs is not mounted"), "{came}");
    assert_eq!(
        tests.attach(ROOT, &["bpf", "perfmon", "sys_admin"], UNMOUNTED),
        "attached"
    );
}
