//! The agent as a child process, with a home directory of its own.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::wait::{self, PATIENCE};

/// The agent's own deadline for its end, and some.
pub const STOP: Duration = Duration::from_secs(20);

/// How an agent is to be started.
pub struct Launch {
    home: TempDir,
    admin: Admin,
    engine: String,
    rotation: &'static str,
    kernel: &'static str,
    source: &'static str,
    to_stdout: bool,
    wrapper: Vec<&'static str>,
    user: Option<u32>,
    environment: Vec<(&'static str, OsString)>,
    more: String,
    more_sinks: String,
}

impl Launch {
    /// For the engine with this socket.
    pub fn on(engine: &Path) -> Self {
        Self::at(&format!("unix://{}", engine.display()))
    }

    /// For the engine at this address; empty: by the docker client's own variables.
    pub fn at(host: &str) -> Self {
        Self {
            home: tempfile::tempdir().expect("a home directory for the agent"),
            admin: Admin::on_a_free_port(),
            engine: host.to_owned(),
            rotation: "5m",
            kernel: "auto",
            source: "api",
            to_stdout: false,
            wrapper: Vec::new(),
            user: None,
            environment: Vec::new(),
            more: String::new(),
            more_sinks: String::new(),
        }
    }

    /// `capture.rotation.interval`.
    pub fn rotation(mut self, interval: &'static str) -> Self {
        self.rotation = interval;
        self
    }

    /// `auto`, `files` or `api`. Most promises are about connections, so `api` is the default here.
    pub fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    /// `auto`, `required` or `off`.
    pub fn kernel(mut self, mode: &'static str) -> Self {
        self.kernel = mode;
        self
    }

    /// To standard output, a pipe that the test holds, instead of to a file.
    pub fn to_stdout(mut self) -> Self {
        self.to_stdout = true;
        self
    }

    /// A program that runs the agent as its child.
    pub fn under(mut self, wrapper: &[&'static str]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    /// The user id to run as.
    pub fn as_user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// More items of YAML for the list of sinks, each on a line of its own.
    pub fn more_sinks(mut self, yaml: &str) -> Self {
        self.more_sinks = yaml.to_owned();
        self
    }

    /// More lines of YAML at the end of the configuration.
    pub fn more(mut self, yaml: &str) -> Self {
        self.more = yaml.to_owned();
        self
    }

    /// One more environment variable.
    pub fn environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The directory that the agent will have for itself.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The client of its admin server, which knows the address beforehand.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Writes the configuration into the home directory.
    pub fn configure(&self) -> PathBuf {
        let home = self.home();
        let sink = if self.to_stdout {
            "- type: stdout".to_owned()
        } else {
            format!("- type: file\n    path: {}", output(home).display())
        };
        let text = format!(
            "docker:
  host: \"{engine}\"
capture:
  source: {source}
  streams:
    max_concurrent: 50
  rotation:
    interval: {rotation}
kernel:
  mode: {kernel}
state_dir: {home}/state
sinks:
  {sink}
{more_sinks}
admin:
  listen: {admin}
{more}",
            engine = self.engine,
            rotation = self.rotation,
            kernel = self.kernel,
            source = self.source,
            home = home.display(),
            admin = self.admin.address(),
            more = self.more,
            more_sinks = self.more_sinks,
        );
        let config = home.join("config.yaml");
        fs::write(&config, text).expect("write the configuration");
        config
    }

    /// Writes the configuration and starts the agent.
    pub fn start(self) -> Agent {
        let config = self.configure();
        let home = self.home();
        let program = home.join("log-capturer");
        // A copy, because an ordinary user may not pass the way to the build directory.
        // By another process: a child that is forked meanwhile would inherit a descriptor that writes to it, and while one
        // is open nobody can execute the file (ETXTBSY).
        let copied = Command::new("cp").arg(binary()).arg(&program).status();
        assert!(copied.expect("run cp").success(), "copy the binary");
        if self.user.is_some() {
            fs::set_permissions(home, Permissions::from_mode(0o777)).expect("open the home directory");
        }
        let mut arguments = self.wrapper.iter().map(PathBuf::from).collect::<Vec<_>>();
        arguments.extend([program, "run".into(), "--config".into(), config]);
        let program = Program {
            arguments,
            user: self.user,
            environment: self.environment,
            wrapped: !self.wrapper.is_empty(),
            to_stdout: self.to_stdout,
        };
        let mut process = program.start(self.home.path());
        Agent {
            stdout: process.stdout.take(),
            pid: program.pid(&process),
            process,
            program,
            admin: self.admin,
            home: self.home,
        }
    }
}

/// What is started, and started again.
struct Program {
    arguments: Vec<PathBuf>,
    user: Option<u32>,
    environment: Vec<(&'static str, OsString)>,
    wrapped: bool,
    to_stdout: bool,
}

impl Program {
    fn start(&self, home: &Path) -> Child {
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(home.join("stderr"))
            .expect("open a file for standard error");
        let mut command = command(&self.arguments[0]);
        command
            .args(&self.arguments[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(if self.to_stdout { Stdio::piped() } else { Stdio::null() })
            .stderr(stderr);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"))
    }

    fn pid(&self, process: &Child) -> u32 {
        if self.wrapped {
            // It may have others before: a shell's commands.
            wait::until("the wrapper's agent", PATIENCE, || {
                let children = crate::witness::children(process.id());
                children.into_iter().find(|child| is_agent(*child))
            })
        } else {
            process.id()
        }
    }
}

fn is_agent(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "log-capturer")
}

/// A running agent. Dropping it kills it.
pub struct Agent {
    process: Child,
    program: Program,
    pid: u32,
    /// The client of its admin server.
    pub admin: Admin,
    /// Where the sink is standard output: the reading end.
    pub stdout: Option<ChildStdout>,
    home: TempDir,
}

impl Agent {
    /// As the test sees it: in the outer namespace, and not a wrapper's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its home directory, with `config.yaml`, `stderr` and `state`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The file sink.
    pub fn output(&self) -> PathBuf {
        output(self.home.path())
    }

    /// What it has written to standard error up to now.
    pub fn stderr(&self) -> String {
        let bytes = fs::read(self.home.path().join("stderr")).expect("read standard error");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Until it says that it is ready.
    pub fn wait_ready(&self) {
        wait::until("/readyz to answer 200", PATIENCE, || {
            (self.admin.get("/readyz").ok()?.status == 200).then_some(())
        });
    }

    /// Until that text is on standard error.
    pub fn wait_said(&self, text: &str, deadline: Duration) {
        wait::until(&format!("{text:?} on standard error"), deadline, || {
            self.stderr().contains(text).then_some(())
        });
    }

    /// Until the file sink holds that many records.
    pub fn wait_records(&self, records: usize, deadline: Duration) {
        wait::until(&format!("{records} records"), deadline, || {
            (self.records() >= records).then_some(())
        });
    }

    /// Until the file sink holds that many records, or for as long as is fair: the accountant names what is missing
    /// better than a deadline does. Then until what is doubled has come, too.
    pub fn settle(&self, records: usize, deadline: Duration) {
        let start = Instant::now();
        while self.records() < records && start.elapsed() < deadline {
            sleep(Duration::from_millis(250));
        }
        sleep(Duration::from_secs(2));
    }

    /// How many records the file sink holds.
    pub fn records(&self) -> usize {
        let bytes = fs::read(self.output()).unwrap_or_default();
        bytes.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("signal the agent");
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("wait for the agent").is_none()
    }

    /// Until it has ended.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let process = &mut self.process;
        wait::until("the agent's end", deadline, || {
            process.try_wait().expect("wait for the agent")
        })
    }

    /// SIGTERM, and the exit code 0 within the deadline.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_exit(STOP);
        assert_eq!(status.code(), Some(0), "exit after SIGTERM: {status}");
    }

    /// SIGKILL: nothing that it holds in memory is saved.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.process.wait().expect("wait for the agent");
    }

    /// Starts an agent that has ended with what it was started with, on what it left.
    pub fn start_again(&mut self) {
        assert!(!self.is_running(), "it still runs");
        self.process = self.program.start(self.home.path());
        self.stdout = self.process.stdout.take();
        self.pid = self.program.pid(&self.process);
    }

    /// A command of the agent's that asks it at its admin address.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let address = format!("http://{}", self.admin.address());
        let mut command = command(&binary());
        command
            .args(arguments)
            .args(["--admin", &address])
            .output()
            .expect("run the command")
    }

    /// The last line on standard error.
    pub fn last_words(&self) -> String {
        let stderr = self.stderr();
        stderr
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stderr = self.stderr();
            let lines: Vec<_> = stderr.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the agent's standard error ends in\n{tail}\n---");
        }
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::KILL);
            // A wrapper ends with its child.
            let _ = self.process.wait();
        }
    }
}

/// Without the variables that the tests are steered by (the agent takes its own from the same prefix), and without those of
/// whoever runs them.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("LOG_CAPTURER_") || text.starts_with("DOCKER_") {
            command.env_remove(name);
        }
    }
    command
}

fn output(home: &Path) -> PathBuf {
    home.join("lines.json")
}

/// `LOG_CAPTURER_BIN`, else what was built last of the workspace's debug and release binaries.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LOG_CAPTURER_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "LOG_CAPTURER_BIN={}: no such file", path.display());
        return path;
    }
    // target/debug/deps/promises-0123456789abcdef
    let test = std::env::current_exe().expect("the test's own path");
    let target = test
        .ancestors()
        .nth(3)
        .expect("a test binary lies in target/PROFILE/deps");
    ["debug", "release"]
        .map(|profile| target.join(profile).join("log-capturer"))
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max()
        .unwrap_or_else(|| {
            panic!(
                "no log-capturer in {}/debug or release: build it, or name it in LOG_CAPTURER_BIN",
                target.display()
            )
        })
        .1
}
