//! Containers that write lines which the test can name beforehand: every line
//! bears its container, its stream and its number.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::engine::Engine;

/// The engine cuts a line at 16 KiB, so that this one comes in three parts.
const LONG: usize = 40_000;
const SHORT: usize = 80;

/// What the lines are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 80 bytes each, on standard output.
    Short,
    /// 40,000 bytes each, on standard output.
    Long,
    /// Raw bytes on one stream, without frames.
    Tty,
    /// Every third line goes to standard error.
    Mixed,
    /// The last line has no newline.
    Unterminated,
}

/// A container, and what it writes.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The name of the container.
    pub name: String,
    /// What its lines are like.
    pub kind: Kind,
    /// How many lines it writes on both streams together.
    pub lines: usize,
    /// Lines written at once, between two pauses.
    pub burst: usize,
    /// Seconds.
    pub pause: f32,
}

impl Writer {
    /// Writes ten lines at once, ten times a second, unless it is told a [`Self::pace`].
    pub fn new(name: impl Into<String>, kind: Kind, lines: usize) -> Self {
        Self {
            name: name.into(),
            kind,
            lines,
            burst: 10,
            pause: 0.1,
        }
    }

    /// `burst` lines at once, then a pause of that many seconds.
    pub fn pace(mut self, burst: usize, pause: f32) -> Self {
        (self.burst, self.pause) = (burst, pause);
        self
    }

    fn length(&self) -> usize {
        if self.kind == Kind::Long { LONG } else { SHORT }
    }

    fn stream(&self, number: usize) -> &'static str {
        if self.kind == Kind::Mixed && number.is_multiple_of(3) {
            "stderr"
        } else {
            "stdout"
        }
    }

    /// The lines of one stream, in the order of writing.
    pub fn expected(&self, stream: &str) -> Vec<Vec<u8>> {
        (1..=self.lines)
            .filter(|number| self.stream(*number) == stream)
            .map(|number| {
                let mut line = format!("{} {stream} {number:06} ", self.name);
                line.extend(std::iter::repeat_n('.', self.length() - line.len()));
                line.into_bytes()
            })
            .collect()
    }

    /// One awk, so that the writing costs the two cores next to nothing.
    pub fn script(&self) -> String {
        let Self {
            name,
            lines,
            burst,
            pause,
            ..
        } = self;
        let every_third = if self.kind == Kind::Mixed { 3 } else { lines + 1 };
        let unterminated = if self.kind == Kind::Unterminated { *lines } else { 0 };
        let length = self.length();
        format!(
            r#"exec awk 'BEGIN {{
                dots = "."; while (length(dots) < {length}) dots = dots dots
                for (n = 1; n <= {lines}; n++) {{
                    stream = n % {every_third} == 0 ? "stderr" : "stdout"
                    start = sprintf("{name} %s %06d ", stream, n)
                    line = start substr(dots, 1, {length} - length(start)) (n == {unterminated} ? "" : "\n")
                    if (stream == "stderr") printf "%s", line > "/dev/stderr"; else printf "%s", line
                    if (n % {burst} == 0) {{ fflush(); system("sleep {pause}") }}
                }}
            }}'"#
        )
    }

    /// Both streams, as the accountant takes them.
    pub fn expected_of_both(&self) -> [(String, &'static str, Vec<Vec<u8>>); 2] {
        ["stdout", "stderr"].map(|stream| (self.name.clone(), stream, self.expected(stream)))
    }

    /// Starts the container, and returns while it writes.
    pub fn start(&self, engine: &Engine) {
        self.start_with(engine, &[]);
    }

    /// With more arguments for `docker run`.
    pub fn start_with(&self, engine: &Engine, arguments: &[&str]) {
        let mut all = arguments.to_vec();
        if self.kind == Kind::Tty {
            all.push("--tty");
        }
        engine.run_script(&self.name, &all, &self.script());
    }
}

/// Runs `test`, and starts and removes containers all the while.
pub fn while_containers_come_and_go<T>(engine: &Engine, test: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let churn = || {
        for number in 0.. {
            if over.load(Ordering::SeqCst) {
                break;
            }
            let name = format!("visitor-{number}");
            Writer::new(&name, Kind::Mixed, 20).start(engine);
            sleep(Duration::from_millis(500));
            engine.docker(&["rm", "--force", &name]).expect("remove a container");
        }
    };
    std::thread::scope(|scope| {
        let churning = scope.spawn(churn);
        // Also where an assertion fails: the other thread is waited for.
        let ended = catch_unwind(AssertUnwindSafe(test));
        over.store(true, Ordering::SeqCst);
        churning.join().expect("containers come and go");
        ended.unwrap_or_else(|failed| resume_unwind(failed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test takes for written is what the engine has.
    #[test]
    fn containers_write_what_is_expected_of_them() {
        crate::needs!(crate::requirements::engine());
        let engine = Engine::start();
        let kinds = [Kind::Short, Kind::Long, Kind::Tty, Kind::Mixed, Kind::Unterminated];
        let writers = kinds.map(|kind| Writer::new(format!("{kind:?}").to_lowercase(), kind, 25));
        for writer in &writers {
            writer.start(&engine);
        }
        for writer in &writers {
            engine.wait(&writer.name);
            for stream in ["stdout", "stderr"] {
                let mut logged = engine.logged(&writer.name, stream);
                if writer.kind == Kind::Tty {
                    // The terminal adds a carriage return to each newline.
                    for line in &mut logged {
                        assert_eq!(line.pop(), Some(b'\r'));
                    }
                }
                assert_eq!(logged, writer.expected(stream), "{} {stream}", writer.name);
            }
        }
        let whole = engine
            .docker_command(&["logs", "unterminated"])
            .unwrap()
            .output()
            .unwrap();
        assert!(whole.stdout.ends_with(b"."));
    }
}
