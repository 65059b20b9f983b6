//! Builds, runs, tests and checks log-capturer.

mod build_ebpf;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Parser;

#[derive(Parser)]
enum Verb {
    /// Compile the kernel half, which the agent's next build embeds.
    BuildEbpf {
        #[arg(long)]
        compiler: Option<build_ebpf::Compiler>,
    },
}

fn main() -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    match Verb::parse() {
        Verb::BuildEbpf { compiler } => {
            let object = build_ebpf::build_ebpf(workspace, compiler)?;
            println!("{}", object.display());
        }
    }
    Ok(())
}
