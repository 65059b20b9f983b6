//! The agent's account of its connections, held against itself and against `ss`.

use std::collections::BTreeSet;

use crate::admin::Connection;
use crate::agent::Agent;
use crate::metrics::Metrics;
use crate::wait::{self, PATIENCE};
use crate::witness::Listener;

/// `opened − closed = live`, for each peer. Gives the number of peers looked at.
pub fn conserved(metrics: &Metrics) -> Result<usize, String> {
    let peers = metrics.label_values("kernel_connections_opened_total", "peer");
    for peer in &peers {
        let sum = |name| metrics.sum(name, &[("peer", peer)]).unwrap_or(0.0);
        let opened = sum("kernel_connections_opened_total");
        let closed = sum("kernel_connections_closed_total");
        let live = sum("kernel_connections");
        if opened - closed != live {
            return Err(format!("{peer}: opened {opened} − closed {closed} ≠ live {live}"));
        }
    }
    Ok(peers.len())
}

/// Connections come and go, so the page is asked between two looks of the witness.
#[derive(Debug)]
pub enum Comparison {
    /// Both looks saw the same, and so did the page.
    Agrees {
        /// How many connections all three saw.
        connections: usize,
    },
    /// Something changed meanwhile. The page has every connection that both looks saw, and none that neither saw.
    Between,
    /// They contradict each other. The text says how.
    Differs(String),
    /// Something changed meanwhile, and more than the two looks can tell; or a socket could not be told by its peer.
    Restless,
}

/// Holds `/connections` against the witness's view of the same process.
pub fn compare(agent: &Agent, engine: &(impl Listener + ?Sized)) -> Comparison {
    let before = engine.connections(agent.pid());
    let page = agent.admin.connections();
    let after = engine.connections(agent.pid());
    if !before.peerless.is_empty() || !after.peerless.is_empty() {
        return Comparison::Restless;
    }
    match page {
        Ok(rows) => judge(&rows, &before.inodes, &after.inodes, &engine.name()),
        Err(error) => Comparison::Differs(format!("no page: {error:#}")),
    }
}

fn judge(rows: &[Connection], before: &BTreeSet<u64>, after: &BTreeSet<u64>, engine: &str) -> Comparison {
    // A row without a peer is one that the register believes in and the kernel does not.
    let ours = |row: &&Connection| row.peer.as_deref().is_none_or(|peer| peer == engine);
    let page: BTreeSet<u64> = rows.iter().filter(ours).map(|row| row.inode).collect();
    let orphans: Vec<_> = rows.iter().filter(ours).filter(|row| row.purpose.is_none()).collect();
    let lasting: BTreeSet<u64> = before & after;
    let only_in_ss: Vec<_> = lasting.difference(&page).collect();
    let only_in_page = &page - &(before | after);
    let quiet = before == after;
    if !only_in_ss.is_empty() || !orphans.is_empty() || (quiet && !only_in_page.is_empty()) {
        return Comparison::Differs(format!(
            "only in /connections: {only_in_page:?}; only in ss: {only_in_ss:?}; not in the register: {orphans:?}",
        ));
    }
    if quiet {
        Comparison::Agrees {
            connections: page.len(),
        }
    } else if only_in_page.is_empty() {
        Comparison::Between
    } else {
        // It came after the first look and went before the second.
        Comparison::Restless
    }
}

/// What the agent holds is what `ss` sees, no more than it needs for its streams, and none of it half-closed.
pub fn assert_no_connection_left_over(agent: &Agent, engine: &(impl Listener + ?Sized), streams: usize) {
    let connections = wait::until("the ledger and ss to agree", PATIENCE, || {
        match compare(agent, engine) {
            Comparison::Agrees { connections } => Some(connections),
            Comparison::Between | Comparison::Differs(_) | Comparison::Restless => None,
        }
    });
    // A rotation holds two; then the events, and the idle ones of the pool.
    let most = 2 * streams + 1 + 2;
    assert!(connections <= most, "{connections} connections for {streams} streams");
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(conserved(&metrics).err(), None);
    assert!(agent.ask(&["leaks"]).status.success(), "{:?}", agent.ask(&["leaks"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_not_accounted_for_is_seen() {
        let metrics = |live: u32| {
            Metrics::parse(&format!(
                "log_capturer_kernel_connections_opened_total{{peer=\"a\"}} 5\n\
                 log_capturer_kernel_connections_closed_total{{peer=\"a\",after_peer=\"true\"}} 1\n\
                 log_capturer_kernel_connections_closed_total{{peer=\"a\",after_peer=\"false\"}} 2\n\
                 log_capturer_kernel_connections{{peer=\"a\",state=\"established\"}} {live}\n\
                 log_capturer_kernel_connections{{peer=\"a\",state=\"peer_gone\"}} 1\n"
            ))
        };
        assert_eq!(conserved(&metrics(1)), Ok(1));
        assert!(conserved(&metrics(0)).is_err());
        assert!(conserved(&metrics(2)).is_err());
    }

    #[test]
    fn a_page_is_held_to_what_ss_saw() {
        let row = |inode, peer: Option<&str>, purpose: Option<&str>| Connection {
            inode,
            peer: peer.map(str::to_owned),
            purpose: purpose.map(str::to_owned),
            opened_by: None,
            container: None,
            age_seconds: 0.0,
            state: "established".to_owned(),
        };
        let agrees = |rows: &[Connection], ss: &[u64]| {
            let ss = ss.iter().copied().collect();
            matches!(judge(rows, &ss, &ss, "/s"), Comparison::Agrees { .. })
        };
        let held = || row(1, Some("/s"), Some("logs"));
        let elsewhere = || row(9, Some("/other"), None);
        assert!(agrees(&[held(), elsewhere()], &[1]));
        assert!(!agrees(&[held()], &[1, 2]), "a connection that is not shown");
        assert!(!agrees(&[held()], &[]), "a connection that is none");
        assert!(
            !agrees(&[held(), row(2, None, Some("logs"))], &[1]),
            "one that only the register has"
        );
        assert!(
            !agrees(&[held(), row(2, Some("/s"), None)], &[1, 2]),
            "one that the register has not"
        );
    }
    #[test]
    fn a_page_is_held_to_what_ss_saw_before_and_after_it() {
        let row = |inode| Connection {
            inode,
            peer: Some("/s".to_owned()),
            purpose: Some("logs".to_owned()),
            opened_by: None,
            container: None,
            age_seconds: 0.0,
            state: "established".to_owned(),
        };
        let judged = |page: &[u64]| {
            let rows: Vec<_> = page.iter().map(|inode| row(*inode)).collect();
            // 1 lasts, 2 goes, 3 comes.
            judge(&rows, &BTreeSet::from([1, 2]), &BTreeSet::from([1, 3]), "/s")
        };
        for page in [&[1][..], &[1, 2], &[1, 3], &[1, 2, 3]] {
            assert!(matches!(judged(page), Comparison::Between), "{page:?}");
        }
        assert!(
            matches!(judged(&[2, 3]), Comparison::Differs(_)),
            "one that lasts is not shown"
        );
        assert!(
            matches!(judged(&[1, 9]), Comparison::Restless),
            "it may have come and gone"
        );
    }
}
