#!/bin/sh
# Process 1 of the virtual machine: mounts what a host has mounted, runs the tests, says how they ended, powers off.
# What the tests write to standard output goes to the first serial port, as does what the kernel says; standard error
# to the second.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/tools:/bin HOME=/ TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
exec </dev/null >/dev/ttyS0 2>/dev/ttyS1
stty raw </dev/ttyS0
stty raw </dev/ttyS1

ip link set lo up
for module in /modules/*; do
  insmod "$module"
done
echo "vm: Linux $(uname -r)"

set -- --test-threads=1
# shellcheck disable=SC2046 # One word a filter.
[ -s /filters ] && set -- "$@" $(cat /filters)
# Here there are all rights, and a kernel that has everything: what cannot run is a failure.
export LOG_CAPTURER_REQUIRE_ALL=1 RUST_BACKTRACE=1
# LEDGER_TIER and LEDGER_PREEMPTS are among the kernel's parameters, of which it hands on those that it does not know.
/kernel-tests "$@"
echo "vm: ended with $?"

# Setting a line waits until it has sent everything.
stty raw </dev/ttyS1
stty raw </dev/ttyS0
poweroff -f
