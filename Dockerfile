# One static binary on nothing, and a folder for its state.
#
# docs/how-to/run-in-a-container.md says how to run it and what each right is for. In short:
#
#   docker build --tag log-capturer .
#   docker run --detach --name log-capturer \
#     --cap-drop ALL --cap-add BPF --cap-add PERFMON --cap-add DAC_READ_SEARCH \
#     --security-opt no-new-privileges --read-only \
#     --volume /var/run/docker.sock:/var/run/docker.sock \
#     --volume /sys/kernel/tracing:/sys/kernel/tracing:ro \
#     --volume log-capturer:/var/lib/log-capturer \
#     log-capturer
#
# Where no registry can be reached, DEBIAN can be any image of Debian 12 with its package archive:
# `cargo xtask image` makes one, builds the image on it, and tries it on a private engine.

ARG DEBIAN=debian:bookworm-slim
ARG RUNTIME=scratch

FROM ${DEBIAN} AS build
# One compiler for both halves, which has the sources of `core` for the kernel half. A layer of its own, so that it
# survives a change of the source.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      ca-certificates gcc libc6-dev rustc-web cargo-web rust-web-src llvm-22-dev libpolly-22-dev \
 && rm -rf /var/lib/apt/lists/* \
 && LLVM_PREFIX=/usr/lib/llvm-22 \
    cargo install --locked bpf-linker --version 0.13.0 --no-default-features --features=llvm-22
WORKDIR /src
COPY . .
RUN cargo xtask build-ebpf
# Static, so that the image needs no library. `--target` keeps the flag away from build scripts and macros. It is the
# architecture of the base: `docker build --platform` chooses it.
ARG REVISION=unknown
RUN target="$(rustc --print host-tuple)" \
 && LOG_CAPTURER_REVISION="${REVISION}" RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --package log-capturer --target "${target}" \
 && install -D --mode=755 "target/${target}/release/log-capturer" /image/log-capturer \
 && install --directory --mode=700 /image/var/lib/log-capturer

# hadolint ignore=DL3006
FROM ${RUNTIME}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="log-capturer" \
      org.opencontainers.image.description="Streams every container's log, and lets the kernel prove that no connection leaks" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /image/ /
# Positions outlive the agent, and the container if a volume is mounted here. Not VOLUME: each container would leave one behind.
ENV LOG_CAPTURER_STATE_DIR=/var/lib/log-capturer
EXPOSE 8001
# Asks at the address that the agent was started with, not at a fixed port.
HEALTHCHECK --interval=30s --timeout=12s --start-period=15s --retries=3 CMD ["/log-capturer", "health"]
ENTRYPOINT ["/log-capturer"]
CMD ["run"]
