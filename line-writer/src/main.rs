//! `line-writer CONTAINER LINES LENGTH EVERY_MICROSECONDS GO STAY`: what the containers of the benchmark run.
//!
//! Each line begins with `#CONTAINER.NUMBER.NANOSECONDS#`, the time being that of its writing. With EVERY 0 the lines
//! are written as fast as they are taken. It begins when the file `1` is in the directory GO. With STAY `1` it then
//! writes the same again for `2`, and so on, so that all followers have the same containers.
//! It is linked statically, as an image of its own has nothing else in it, and so has no dependency.

use std::io::{self, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Hundreds of containers that wait must leave the machine quiet.
const LOOK: Duration = Duration::from_millis(50);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [container, lines, length, every, go, stay] = arguments.as_slice() else {
        return Err(io::Error::other("CONTAINER LINES LENGTH EVERY_MICROSECONDS GO STAY"));
    };
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let (lines, length, every) = (number(lines)?, number(length)?, number(every)?);
    let every = Duration::from_micros(every);
    for turn in 1_u64.. {
        while !Path::new(go).join(turn.to_string()).exists() {
            sleep(LOOK);
        }
        write(container, lines, length as usize, every)?;
        if stay != "1" {
            break;
        }
    }
    Ok(())
}

fn write(container: &str, lines: u64, length: usize, every: Duration) -> io::Result<()> {
    let start = Instant::now();
    // Containers that start together would all write in the same moment.
    let own = container.parse::<u32>().unwrap_or(0) % 97;
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut line = Vec::with_capacity(length + 64);
    for number in 0..lines {
        if !every.is_zero() {
            let due = every * u32::try_from(number).unwrap_or(u32::MAX) + every / 97 * own;
            sleep(due.saturating_sub(start.elapsed()));
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        line.clear();
        write!(line, "#{container}.{number}.{now}#")?;
        line.resize(length.max(line.len()), b'.');
        line.push(b'\n');
        out.write_all(&line)?;
        if !every.is_zero() {
            out.flush()?;
        }
    }
    out.flush()
}
