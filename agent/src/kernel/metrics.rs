//! What the kernel holds, as metrics.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{Snapshot, State, Tier};
use crate::metrics::{HistogramView, counters, gauges};

/// The metrics of the kernel part.
pub struct Metrics {
    /// `kernel_up`, by tier.
    pub up: IntGaugeVec,
    /// `kernel_connections`, by state and peer.
    pub connections: IntGaugeVec,
    /// `kernel_connections_opened_total`, by peer.
    pub opened: IntCounterVec,
    /// `kernel_connections_closed_total`, by peer and whether the peer had ended first.
    pub closed: IntCounterVec,
    /// `kernel_connect_errors_total`, by errno.
    pub connect_errors: IntCounterVec,
    /// `kernel_connection_age_seconds`.
    pub age: HistogramView,
    /// `kernel_close_wait_seconds`.
    pub close_wait: HistogramView,
    /// `kernel_map_entries`, by map.
    pub map_entries: IntGaugeVec,
    /// `kernel_map_capacity`, by map.
    pub map_capacity: IntGaugeVec,
    /// `kernel_map_failures_total`, by map.
    pub map_failures: IntCounterVec,
    /// `kernel_fds`, by kind.
    pub fds: IntGaugeVec,
    /// `kernel_fds_opened_total`, by kind.
    pub fds_opened: IntCounterVec,
    /// `kernel_fds_closed_total`, by kind.
    pub fds_closed: IntCounterVec,
    /// `kernel_fds_found_total`, by kind.
    pub fds_found: IntCounterVec,
    /// `kernel_repairs_total`, by cause.
    pub repairs: IntCounterVec,
    /// `kernel_missed_events_total`, by program.
    pub missed: IntCounterVec,
}

impl Metrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            up: gauges(
                registry,
                "kernel_up",
                "1 for the tier in force: fentry, tracepoint, or none.",
                &["tier"],
            )?,
            connections: gauges(
                registry,
                "kernel_connections",
                "Connections that the kernel holds open for the agent. established: both ends are open. half_closed: the peer has \
                 shut down its end (TCP: CLOSE_WAIT) and the agent's descriptor is open. peer_gone: the peer has also released \
                 it (TCP: reset, or both ends have ended).",
                &["state", "peer"],
            )?,
            opened: counters(
                registry,
                "kernel_connections_opened_total",
                "Connections that the kernel saw opened, by the address of the peer.",
                &["peer"],
            )?,
            closed: counters(
                registry,
                "kernel_connections_closed_total",
                "Connections whose last descriptor the kernel saw closed. after_peer: whether the peer had ended first.",
                &["peer", "after_peer"],
            )?,
            connect_errors: counters(
                registry,
                "kernel_connect_errors_total",
                "Attempts to connect that failed, by errno. A non-blocking attempt counts when it fails.",
                &["errno"],
            )?,
            age: HistogramView::new(
                registry,
                "kernel_connection_age_seconds",
                "Age of a connection when the kernel saw its last descriptor closed.",
            )?,
            close_wait: HistogramView::new(
                registry,
                "kernel_close_wait_seconds",
                "How long a connection had been half-closed when it was closed: from the peer's end to the agent's. Tier fentry \
                 sees a unix socket's peer end at once, tier tracepoint at the next scan or scrape.",
            )?,
            map_entries: gauges(
                registry,
                "kernel_map_entries",
                "Entries in a map of the kernel half.",
                &["map"],
            )?,
            map_capacity: gauges(
                registry,
                "kernel_map_capacity",
                "Entries that a map of the kernel half has room for.",
                &["map"],
            )?,
            map_failures: counters(
                registry,
                "kernel_map_failures_total",
                "Entries that a map of the kernel half refused because it was full.",
                &["map"],
            )?,
            fds: gauges(
                registry,
                "kernel_fds",
                "Descriptors that the agent has open, as the kernel half counts them.",
                &["kind"],
            )?,
            fds_opened: counters(
                registry,
                "kernel_fds_opened_total",
                "Descriptors that the agent opened since the kernel half was attached.",
                &["kind"],
            )?,
            fds_closed: counters(
                registry,
                "kernel_fds_closed_total",
                "Descriptors that the agent closed since the kernel half was attached, including those from before.",
                &["kind"],
            )?,
            fds_found: counters(
                registry,
                "kernel_fds_found_total",
                "The part of those opened that was found in the process's table, because the call that made it has no hook.",
                &["kind"],
            )?,
            repairs: counters(
                registry,
                "kernel_repairs_total",
                "Entries of the ledger that were wrong, and were put right by a walk through the process's table. close_missed: its \
                 descriptor was gone. open_missed, connect_missed: a descriptor or a connection had none. return_missed: a call \
                 began and was not seen to return. entry_unheld: a connection's entry that no descriptor led to.",
                &["cause"],
            )?,
            missed: counters(
                registry,
                "kernel_missed_events_total",
                "Runs of a program that the kernel skipped, because another task was preempted inside it. What is live rests on a \
                 walk and stays right; totals, ages and owners of that time may lack what was missed. Programs at tracepoints of \
                 system calls are counted from Linux 6.7 on.",
                &["program"],
            )?,
        })
    }

    /// Says which tier is in force.
    pub fn in_force(&self, tier: Tier) {
        Self::show_in_force(&self.up, tier);
    }

    /// The same, where there is only the gauge.
    pub fn show_in_force(up: &IntGaugeVec, tier: Tier) {
        for other in Tier::ALL {
            up.with_label_values(&[other.as_str()]).set(i64::from(other == tier));
        }
    }

    /// Brings everything up to date with what the kernel says now.
    pub fn show(&self, snapshot: &Snapshot) {
        const STATES: [State; 3] = [State::Established, State::HalfClosed, State::PeerGone];
        for peer in &snapshot.peers {
            let name = peer.peer.as_str();
            advance(&self.opened, &[name], peer.opened);
            advance(&self.closed, &[name, "true"], peer.closed_after_peer);
            advance(&self.closed, &[name, "false"], peer.closed - peer.closed_after_peer);
            for state in STATES {
                let live = |c: &&super::Connection| c.peer == peer.peer && c.state == state;
                let count = snapshot.connections.iter().filter(live).count();
                self.connections
                    .with_label_values(&[state.as_str(), name])
                    .set(count as i64);
            }
        }
        for (errno, count) in &snapshot.connect_errors {
            advance(&self.connect_errors, &[&errno_name(*errno)], *count);
        }
        show(&self.age, &snapshot.ages);
        show(&self.close_wait, &snapshot.close_waits);
        for usage in &snapshot.maps {
            self.map_entries
                .with_label_values(&[usage.map])
                .set(usage.entries as i64);
            self.map_capacity
                .with_label_values(&[usage.map])
                .set(usage.capacity as i64);
            advance(&self.map_failures, &[usage.map], usage.failures);
        }
        for fds in &snapshot.fds {
            let kind = fds.kind.as_str();
            self.fds.with_label_values(&[kind]).set(fds.open as i64);
            advance(&self.fds_opened, &[kind], fds.opened);
            advance(&self.fds_closed, &[kind], fds.closed);
            advance(&self.fds_found, &[kind], fds.found);
        }
        for (cause, count) in &snapshot.repairs {
            advance(&self.repairs, &[cause.as_str()], *count);
        }
        for missed in &snapshot.missed {
            advance(&self.missed, &[&missed.program], missed.events);
        }
    }
}

/// Moves a counter on to a total that is kept elsewhere.
fn advance(counters: &IntCounterVec, labels: &[&str], total: u64) {
    let counter = counters.with_label_values(labels);
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn show(view: &HistogramView, measured: &abi::Histogram) {
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    let bounds = abi::BOUNDS_NS.map(seconds);
    let beyond = measured.counts[bounds.len()];
    view.show(
        bounds.into_iter().zip(measured.counts),
        beyond,
        seconds(measured.sum_ns),
    );
}

/// `ENOENT` and its like; the number where the name is not known.
fn errno_name(errno: i32) -> String {
    let known = format!("{:?}", rustix::io::Errno::from_raw_os_error(errno));
    match errno {
        2 => "ENOENT".into(),
        4 => "EINTR".into(),
        11 => "EAGAIN".into(),
        13 => "EACCES".into(),
        22 => "EINVAL".into(),
        91 => "EPROTOTYPE".into(),
        99 => "EADDRNOTAVAIL".into(),
        101 => "ENETUNREACH".into(),
        104 => "ECONNRESET".into(),
        106 => "EISCONN".into(),
        110 => "ETIMEDOUT".into(),
        111 => "ECONNREFUSED".into(),
        113 => "EHOSTUNREACH".into(),
        115 => "EINPROGRESS".into(),
        _ => known,
    }
}
