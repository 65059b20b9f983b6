//! What each capability is needed for: the table in `docs/how-to/run-with-least-rights.md`, line by line.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
};

use log_capturer::kernel::{Kernel, RefusalKind, Tier};

use super::{Fixture, fixture, options};

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
            "{tracefs}; exec \"$1\" --reuid {user} --regid {user} --clear-groups --inh-caps=-all{set} \
             --ambient-caps={ambient} --bounding-set=-all{set} \"$0\" --exact {ENTRY} --nocapture"
        );
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .args([&self.0, &setpriv()])
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

/// By its path: a shell that is busybox would take its own, which lacks options.
fn setpriv() -> PathBuf {
    let path = env::var_os("PATH").expect("PATH");
    let found = env::split_paths(&path)
        .map(|directory| directory.join("setpriv"))
        .find(|program| program.is_file());
    found.expect("setpriv (util-linux)")
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

/// Whether the tier in force needs tracefs.
fn takes_tracefs(fixture: &Fixture) -> bool {
    fixture.kernel.tier() == Tier::Tracepoint
}

/// The first that tier `fentry` tries.
const PROBE: &str = "load a program at a function's exit";

/// What is refused first without CAP_BPF.
fn without_bpf(fixture: &Fixture) -> &'static str {
    if takes_tracefs(fixture) {
        "create the kernel maps"
    } else {
        PROBE
    }
}

/// Whether this is Debian's kernel at its strictest, where `perf_event_open`, by which tracepoints are attached, takes CAP_SYS_ADMIN.
fn is_strict(fixture: &Fixture) -> bool {
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").expect("a kernel with perf");
    let paranoid: i32 = paranoid.trim().parse().expect("a number");
    takes_tracefs(fixture) && paranoid > 2
}

#[test]
fn a_user_attaches_with_three_capabilities_and_not_with_one_less() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let Some(fixture) = fixture() else { return };
    let tests = Copy::make();
    let all = ["bpf", "perfmon", "dac_read_search"];
    if is_strict(&fixture) {
        let came = tests.attach(NOBODY, &all, MOUNTED);
        assert_refused(&came, "attach to the tracepoint");
        assert!(came.contains("kernel.perf_event_paranoid is above 2"), "{came}");
        let came = tests.attach(NOBODY, &["sys_admin", "dac_read_search"], MOUNTED);
        return assert_eq!(came, "attached");
    }
    assert_eq!(tests.attach(NOBODY, &all, MOUNTED), "attached");
    assert_refused(&tests.attach(NOBODY, &all[1..], MOUNTED), without_bpf(&fixture));
    let without_perfmon = if takes_tracefs(&fixture) {
        "load the program"
    } else {
        PROBE
    };
    assert_refused(
        &tests.attach(NOBODY, &["bpf", "dac_read_search"], MOUNTED),
        without_perfmon,
    );
    let two = tests.attach(NOBODY, &all[..2], MOUNTED);
    if takes_tracefs(&fixture) {
        assert_refused(&two, "/sys/kernel/tracing");
    } else {
        assert_eq!(two, "attached");
    }
    let first = if takes_tracefs(&fixture) {
        "Permission denied"
    } else {
        PROBE
    };
    assert_refused(&tests.attach(NOBODY, &[], MOUNTED), first);
}

#[test]
fn user_0_owns_tracefs_and_needs_two_capabilities() {
    let Some(fixture) = fixture() else { return };
    let tests = Copy::make();
    let two = tests.attach(ROOT, &["bpf", "perfmon"], MOUNTED);
    if is_strict(&fixture) {
        assert_refused(&two, "attach to the tracepoint");
    } else {
        assert_eq!(two, "attached");
    }
    assert_refused(&tests.attach(ROOT, &[], MOUNTED), without_bpf(&fixture));
}

#[test]
fn where_tracefs_is_not_mounted_it_takes_the_right_to_mount() {
    let Some(fixture) = fixture() else { return };
    let tests = Copy::make();
    let came = tests.attach(ROOT, &["bpf", "perfmon"], UNMOUNTED);
    if !takes_tracefs(&fixture) {
        return assert_eq!(came, "attached");
    }
    assert_refused(&came, "mount tracefs, which the host has not mounted");
    assert!(came.contains("CAP_SYS_ADMIN where tracefs is not mounted"), "{came}");
    assert_eq!(
        tests.attach(ROOT, &["bpf", "perfmon", "sys_admin"], UNMOUNTED),
        "attached"
    );
}
