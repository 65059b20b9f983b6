//! Alerts that real faults fire, in a real Prometheus with an Alertmanager.

use std::fs;

use integration::agent::Launch;
use integration::engine::Engine;
use integration::monitoring::{Monitoring, Notice, PROGRAMS, Status};
use integration::store::{Fault, Loki};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

/// It leads somebody on: to a heading of the runbooks.
fn assert_helps(notice: &Notice) {
    let runbook = &notice.annotations["runbook_url"];
    assert!(runbook.starts_with("docs/how-to/runbooks.md#"), "{notice:?}");
    assert!(
        notice.annotations["summary"].contains(&notice.labels["instance"]),
        "{notice:?}"
    );
}

#[test]
fn real_faults_fire_their_alerts_and_their_ends_resolve_them() {
    needs!(
        requirements::engine(),
        requirements::program(PROGRAMS[0]),
        requirements::program(PROGRAMS[1])
    );
    let (engine, loki) = (Engine::start(), Loki::start());
    engine.run_script("web", &[], "n=0; while :; do n=$((n+1)); echo $n; sleep 0.2; done");
    let token = tempfile::NamedTempFile::new().expect("a file");
    fs::write(token.path(), "right").expect("write the token");
    let sink = format!(
        "  - {{type: loki, name: main, url: \"{}\", auth: {{bearer_file: \"{}\"}}}}\n",
        loki.url(),
        token.path().display()
    );
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink).start();
    agent.wait_ready();
    let monitoring = Monitoring::of(agent.admin.address().parse().expect("an address"));
    let faults = ["LogCapturerSinkHeld", "LogCapturerBreakerOpen", "LogCapturerDown"];
    let [held, breaker, down] = faults;
    wait::until("lines in the store, and Prometheus to know", PATIENCE, || {
        let delivered = monitoring.value("log_capturer_lines_delivered_total{sink=\"main\"}")?;
        (delivered > 20.0).then_some(())
    });
    for fault in faults {
        assert!(monitoring.told(fault).is_empty(), "{fault} without a fault");
    }

    loki.set(Fault::Only("Bearer other".to_owned()));
    let notice = monitoring.wait_told(held, Status::Firing);
    assert_eq!(notice.labels["sink"], "main");
    assert!(
        notice.annotations["summary"].contains(&notice.labels["reason"]),
        "{notice:?}"
    );
    assert_helps(&notice);
    loki.set(Fault::None);
    let over = monitoring.wait_told(held, Status::Resolved);
    assert_eq!(over.labels, notice.labels);

    engine.kill9().expect("kill the engine");
    assert_helps(&monitoring.wait_told(breaker, Status::Firing));
    engine.restart().expect("start the engine");
    monitoring.wait_told(breaker, Status::Resolved);

    agent.stop();
    assert_helps(&monitoring.wait_told(down, Status::Firing));
    agent.start_again();
    monitoring.wait_told(down, Status::Resolved);
}
