# syntax=docker/dockerfile:1
#
# The agent watches the engine's socket and its own connections, nothing else of the host:
#
#   docker run --name log-capturer \
#     --cap-drop ALL --cap-add BPF --cap-add PERFMON --cap-add DAC_READ_SEARCH \
#     --security-opt no-new-privileges --read-only \
#     --volume /var/run/docker.sock:/var/run/docker.sock \
#     --volume /sys/kernel/tracing:/sys/kernel/tracing:ro \
#     --publish 127.0.0.1:8001:8001 \
#     log-capturer run --set admin.listen=0.0.0.0:8001
#
# - BPF and PERFMON load and attach the kernel half; Docker's default seccomp profile lets them.
# - DAC_READ_SEARCH reads the tracepoints' numbers: tracefs is for root's group only.
# - No --pid=host: the kernel half counts the agent's own process, inside its own pid namespace too.
# - Without the three capabilities it runs as well, and says that it has no kernel part.
# - It must be allowed to open the socket: user 0 without the capabilities that make it root, or
#   `--user` with the socket's group.

FROM rust:1.95-bookworm AS build
# What `cargo xtask setup` would install for the kernel half, in a layer that survives a change of the source.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends rustc-web cargo-web rust-web-src llvm-22-dev libpolly-22-dev \
 && rm -rf /var/lib/apt/lists/* \
 && LLVM_PREFIX=/usr/lib/llvm-22 cargo install --locked bpf-linker --version 0.13.0 --no-default-features --features=llvm-22
WORKDIR /src
COPY . .
RUN cargo xtask build-ebpf
# Static, so that the image needs no library. `--target` keeps the flag away from build scripts and macros.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --package log-capturer --target x86_64-unknown-linux-gnu

FROM scratch
COPY --from=build /src/target/x86_64-unknown-linux-gnu/release/log-capturer /log-capturer
EXPOSE 8001
ENTRYPOINT ["/log-capturer"]
CMD ["run"]
