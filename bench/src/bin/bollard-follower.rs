//! The least that follows logs on the `bollard` crate: one thread, a task a container, what comes goes to standard output.
//!
//! `bollard-follower CONTAINER...`, with the engine at `DOCKER_HOST`.

use std::io::Write;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// So many messages that are there at once are written at once.
const AT_ONCE: usize = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let docker = Docker::connect_with_unix_defaults()?.negotiate_version().await?;
    let containers = std::env::args().skip(1);
    let mut streams: FuturesUnordered<_> = containers.map(|container| copy(&docker, container)).collect();
    while let Some(ended) = streams.next().await {
        ended?;
    }
    Ok(())
}

async fn copy(docker: &Docker, container: String) -> Result<()> {
    let options = LogsOptionsBuilder::new()
        .follow(true)
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .build();
    let mut ready = docker.logs(&container, Some(options)).ready_chunks(AT_ONCE);
    while let Some(messages) = ready.next().await {
        let mut out = std::io::BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
        for message in messages {
            out.write_all(&message.with_context(|| container.clone())?.into_bytes())?;
        }
        out.flush()?;
    }
    Ok(())
}
