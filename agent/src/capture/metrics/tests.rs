//! Series that come and go.

use super::*;

fn metrics() -> (Registry, Arc<Metrics>) {
    let registry = crate::metrics::registry().unwrap();
    let delivery = delivery::Metrics::new(&registry).unwrap();
    let metrics = Arc::new(Metrics::new(&registry, &delivery).unwrap());
    (registry, metrics)
}

/// What is shown of a container: the names of its series, with their values.
fn shown(registry: &Registry, container: &str) -> Vec<String> {
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    let label = format!("container=\"{container}\"");
    text.lines()
        .filter(|line| line.contains(&label))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_names_heir_keeps_its_series_and_the_last_bearer_takes_them_along() {
    let (registry, metrics) = metrics();
    let old = Series::new("web", &metrics);
    old.captured(Stream::Stdout, 3);
    let heir = Series::new("web", &metrics);
    heir.gap();
    drop(old);
    heir.captured(Stream::Stdout, 3);
    let lines = metrics.lines.with_label_values(&["web", "stdout"]).get();
    assert_eq!(lines, 2, "what the heir counts goes nowhere");
    assert!(heir.has_gap());
    drop(heir);
    assert_eq!(shown(&registry, "web"), [""; 0]);
}

#[test]
fn the_lag_of_one_that_wrote_grows_while_nothing_can_come() {
    let (_registry, metrics) = metrics();
    let all = ["writes", "quiet"].map(|name| Lag::new(metrics.lag.with_label_values(&[name])));
    let [writes, quiet] = &all;
    let at = |seconds: i64| Time(1_000_000_000_000 + seconds * 1_000_000_000);
    quiet.came(at(0), at(0));
    writes.came(at(99), at(100));
    assert_eq!((writes.gauge.get(), quiet.gauge.get()), (1.0, 0.0));
    for seconds in 101..200 {
        all.iter().for_each(|lag| lag.waits(at(seconds)));
        assert_eq!((writes.gauge.get(), quiet.gauge.get()), ((seconds - 99) as f64, 0.0));
    }
    writes.came(at(200), at(200));
    assert_eq!(writes.gauge.get(), 0.0);
    // It is quiet by the next time.
    writes.waits(at(300));
    assert_eq!(writes.gauge.get(), 0.0);
}
