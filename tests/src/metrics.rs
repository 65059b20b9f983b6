//! The Prometheus text format, as far as the tests read it.

use std::collections::BTreeMap;

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name, with the prefix.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All series of a page.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Every series, in the order of the page.
    pub samples: Vec<Sample>,
    /// The type of each family: `counter`, `gauge`, `histogram`.
    pub types: BTreeMap<String, String>,
}

impl Metrics {
    /// Panics at what is malformed.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines() {
            if let Some(declaration) = line.strip_prefix("# TYPE ") {
                let (family, kind) = declaration.split_once(' ').expect("# TYPE name type");
                metrics.types.insert(family.into(), kind.into());
            } else if !line.starts_with('#') && !line.is_empty() {
                metrics.samples.push(sample(line));
            }
        }
        metrics
    }

    /// The sum over all series of a name that bear these labels; `None` where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let name = format!("log_capturer_{name}");
        let mut series = self.samples.iter().filter(|sample| {
            let bears = |(key, value): &(&str, &str)| sample.labels.get(*key).map(String::as_str) == Some(*value);
            sample.name == name && labels.iter().all(bears)
        });
        let first = series.next()?.value;
        Some(series.fold(first, |sum, sample| sum + sample.value))
    }

    /// One of the usual metrics of a process, which bear no labels, and not the agent's prefix.
    pub fn process(&self, name: &str) -> Option<f64> {
        let name = format!("process_{name}");
        Some(self.samples.iter().find(|sample| sample.name == name)?.value)
    }

    /// The values that a label of a metric has.
    pub fn label_values(&self, name: &str, label: &str) -> Vec<String> {
        let name = format!("log_capturer_{name}");
        let mut values: Vec<_> = self
            .samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect();
        values.sort();
        values.dedup();
        values
    }
}

fn sample(line: &str) -> Sample {
    let name_ends = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value in {line:?}"));
    let (name, rest) = line.split_at(name_ends);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest),
        None => (BTreeMap::new(), rest),
    };
    Sample {
        name: name.into(),
        labels,
        value: value
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("no number at the end of {line:?}")),
    }
}

/// What follows a `{`: the labels, and what follows the `}`.
fn labels(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let (key, quoted) = rest.split_once("=\"").expect("label=\"value\"");
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next().expect("a label's value ends in a quote") {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect("something after a backslash").1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, plain) => value.push(plain),
            }
        };
        labels.insert(key.into(), value);
        rest = &quoted[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_labels_and_values() {
        let metrics = Metrics::parse(concat!(
            "# HELP log_capturer_a_total Help.\n",
            "# TYPE log_capturer_a_total counter\n",
            "log_capturer_a_total{peer=\"/run/a,b}.sock\",x=\"q\\\"uote\"} 3\n",
            "log_capturer_a_total{peer=\"other\",x=\"\"} 4\n",
            "log_capturer_b 0.5\n",
        ));
        assert_eq!(metrics.types["log_capturer_a_total"], "counter");
        assert_eq!(metrics.samples[0].labels["x"], "q\"uote");
        assert_eq!(metrics.sum("a_total", &[]), Some(7.0));
        assert_eq!(metrics.sum("a_total", &[("peer", "other")]), Some(4.0));
        assert_eq!(metrics.sum("a_total", &[("peer", "nobody")]), None);
        assert_eq!(metrics.sum("b", &[]), Some(0.5));
        assert_eq!(metrics.label_values("a_total", "peer"), ["/run/a,b}.sock", "other"]);
    }
}
