//! The image of the agent: the one that `cargo xtask image` has built, or the last stage of the Dockerfile around the
//! binary that the other tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent;
use crate::engine::Engine;

const DOCKERFILE: &str = include_str!("../../Dockerfile");
/// The stage that the last one copies from.
const BUILD: &str = "stage-build:test";
/// The last stage's base: what a binary needs that is not static.
const LIBRARIES: &str = "host-libraries:test";
const NAME: &str = "log-capturer:test";

/// Brings the image into the engine, and gives its name.
pub fn bring(engine: &Engine) -> String {
    match std::env::var_os("LOG_CAPTURER_IMAGE") {
        Some(tar) => load(engine, Path::new(&tar)),
        None => last_stage(engine),
    }
}

fn load(engine: &Engine, tar: &Path) -> String {
    let said = docker(engine, &["load", "--input", &tar.to_string_lossy()]);
    let name = said.lines().find_map(|line| line.strip_prefix("Loaded image: "));
    name.unwrap_or_else(|| panic!("docker load said {said:?}")).to_owned()
}

fn last_stage(engine: &Engine) -> String {
    let folder = tempfile::tempdir().expect("a folder for the image");
    let build = folder.path().join("build");
    place(&agent::binary(), &build.join("image/log-capturer"));
    fs::create_dir_all(build.join("image/var/lib/log-capturer")).expect("make the folder of the state");
    import(engine, &build, BUILD);

    let runtime = folder.path().join("runtime");
    fs::create_dir_all(&runtime).expect("make a folder");
    for library in libraries(&agent::binary()) {
        place(
            &library,
            &runtime.join(library.strip_prefix("/").expect("an absolute path")),
        );
    }
    import(engine, &runtime, LIBRARIES);

    let begin = DOCKERFILE.rfind("\nFROM ").expect("a stage of the Dockerfile");
    let context = folder.path().join("context");
    fs::create_dir_all(&context).expect("make a folder");
    let text = format!("ARG RUNTIME\nFROM {BUILD} AS build\n{}", &DOCKERFILE[begin..]);
    fs::write(context.join("Dockerfile"), text).expect("write a Dockerfile");
    let mut command = engine
        .docker_command(&["build", "--quiet", "--tag", NAME, "--build-arg"])
        .expect("a docker client");
    command.env("DOCKER_BUILDKIT", "0");
    let output = command.arg(format!("RUNTIME={LIBRARIES}")).arg(&context).output();
    let output = output.expect("run docker build");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    NAME.to_owned()
}

/// What ldd names, by the paths that it names.
fn libraries(binary: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(binary).output().expect("run ldd");
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

fn place(file: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a path below a folder")).expect("make a folder");
    fs::copy(file, to).unwrap_or_else(|error| panic!("copy {}: {error}", file.display()));
}

fn import(engine: &Engine, root: &Path, name: &str) {
    let tar = root.with_extension("tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(root)
        .arg("-cf")
        .arg(&tar)
        .arg(".")
        .status();
    assert!(packed.expect("run tar").success(), "pack {}", root.display());
    docker(engine, &["import", &tar.to_string_lossy(), name]);
}

fn docker(engine: &Engine, arguments: &[&str]) -> String {
    engine.docker(arguments).unwrap_or_else(|error| panic!("{error:#}"))
}
