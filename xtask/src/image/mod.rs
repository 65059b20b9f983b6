//! `cargo xtask image`: builds the image and tries it, on an engine of its own.

mod base;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use private_engine::PrivateEngine;

use crate::setup::{self, Part};
use crate::{cargo, say};

#[derive(clap::Args)]
pub struct Options {
    /// An image of Debian 12 to build on, that the engine can pull; without it one is made by debootstrap
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// Where the image is saved, for `docker load`; without it target/image/log-capturer.tar
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub fn image(options: &Options) -> Result<ExitCode> {
    setup::ensure(&[Part::Engine, Part::Image]);
    let folder = cargo::target_dir()?.join("image");
    std::fs::create_dir_all(&folder)?;
    let saved = options.save.clone().unwrap_or_else(|| folder.join("log-capturer.tar"));
    let engine = PrivateEngine::start()?;
    let base = match &options.base {
        Some(base) => base.clone(),
        None => base::import(&engine, &folder)?,
    };
    build(&engine, &base, &saved)?;
    drop(engine);
    say::step(&format!("saved the image as {}", saved.display()));

    say::step("trying it on a private engine");
    cargo::run(
        cargo::cargo()
            .args(["test", "--quiet", "--package=integration", "--test=promises", "--"])
            .args(["image::", "--nocapture"])
            .env("LOG_CAPTURER_IMAGE", &saved)
            .env("LOG_CAPTURER_REQUIRE_ALL", "1"),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn build(engine: &PrivateEngine, base: &str, saved: &std::path::Path) -> Result<()> {
    say::step(&format!("building the image on {base}; it takes some minutes"));
    let version = env!("CARGO_PKG_VERSION");
    let tag = format!("log-capturer:{version}");
    let mut build = engine.docker_command(&["build", "--tag", &tag, "--network=host"])?;
    // The client may lack the plug-in for the newer builder. The network is the host's: this engine has no bridge.
    build.env("DOCKER_BUILDKIT", "0");
    for (name, value) in [
        ("DEBIAN", base.to_owned()),
        ("VERSION", version.to_owned()),
        (
            "REVISION",
            said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))?,
        ),
        (
            "CREATED",
            said(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%SZ"]))?,
        ),
    ] {
        build.arg(format!("--build-arg={name}={value}"));
    }
    cargo::run(build.arg(cargo::root()))?;
    engine.docker(&["save", "--output", &saved.to_string_lossy(), &tag])?;
    let size = engine.docker(&["image", "inspect", "--format", "{{.Size}}", &tag])?;
    say::step(&format!("built {tag}, {size} bytes"));
    Ok(())
}

fn said(command: &mut Command) -> Result<String> {
    let output = command
        .current_dir(cargo::root())
        .output()
        .with_context(|| format!("{command:?}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
