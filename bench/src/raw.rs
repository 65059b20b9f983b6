//! The figures of every single turn, as comma-separated values.

use std::fmt::{Display, Write};

use crate::results::Results;

pub const HEAD: &str = "scenario,follower,containers,lines_each,line_bytes,round,own_cpu_s,engine_cpu_s,span_s,wall_s,lines,\
    missing,doubled,rss_peak,rss_idle,rss_end,anonymous_peak,anonymous_idle,anonymous_end,fds,threads,p50_ms,p99_ms,max_ms\n";

pub fn rows(results: &Results<'_>) -> String {
    let mut text = String::new();
    for row in &results.rows {
        // The only cell that may hold a comma.
        let follower = format!("\"{}\"", row.contestant.to_string().replace('"', "\"\""));
        for (round, run) in row.runs.iter().enumerate() {
            let cells: [&dyn Display; 24] = [
                &results.scenario.name,
                &follower,
                &row.work.containers,
                &row.work.lines,
                &row.work.length,
                &(round + 1),
                &run.own,
                &run.engine,
                &run.span,
                &run.wall,
                &run.lines,
                &run.missing,
                &run.doubled,
                &run.most.peak,
                &run.idle.resident,
                &run.end.resident,
                &run.most.anonymous,
                &run.idle.anonymous,
                &run.end.anonymous,
                &run.most.descriptors,
                &run.most.threads,
                &run.latency[0],
                &run.latency[1],
                &run.latency[2],
            ];
            let cells = cells.map(ToString::to_string).join(",");
            let _ = writeln!(text, "{cells}");
        }
    }
    text
}
