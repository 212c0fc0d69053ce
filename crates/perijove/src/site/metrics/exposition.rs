//! The text that Prometheus reads
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::fmt::{self, Write};

use perijove_gateway::{BOUNDS, Histogram};

/// What the text says that it is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// A page that is being written, family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    /// Of the family that is being written.
    name: String,
}

type Labels<'a> = [(&'a str, &'a str)];

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Type, help: &str) {
        name.clone_into(&mut self.name);
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: u64) {
        self.line("", labels, None, format_args!("{value}"));
    }

    pub(super) fn real(&mut self, labels: &Labels<'_>, value: f64) {
        self.line("", labels, None, format_args!("{value}"));
    }

    pub(super) fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        let mut total = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&histogram.counts) {
            total += count;
            self.line("_bucket", labels, Some(("le", &bound)), format_args!("{total}"));
        }
        self.line("_sum", labels, None, format_args!("{}", histogram.sum));
        self.line("_count", labels, None, format_args!("{total}"));
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &Labels<'_>,
        last: Option<(&str, &str)>,
        value: fmt::Arguments<'_>,
    ) {
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().copied().chain(last).enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{name}=\"{}\"", escaped(value)));
        }
        if !labels.is_empty() || last.is_some() {
            self.text.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, what: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _: fmt::Result = self.text.write_fmt(what);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("a_total", Type::Counter, "How many.");
        page.sample(&[("route", "a\\b\"c\nd"), ("status", "2xx")], 7);
        page.family("b", Type::Gauge, "How much.");
        page.real(&[], 0.5);
        insta::assert_snapshot!(page.finish(), @r#"
        # HELP a_total How many.
        # TYPE a_total counter
        a_total{route="a\\b\"c\nd",status="2xx"} 7
        # HELP b How much.
        # TYPE b gauge
        b 0.5
        "#);
    }

    #[test]
    fn buckets_of_histograms_add_up() {
        let mut page = Page::default();
        let mut counts = vec![0; BOUNDS.len() + 1];
        (counts[0], counts[2], counts[16]) = (1, 2, 4);
        page.family("h", Type::Histogram, "How long.");
        page.histogram(&[("route", "/")], &Histogram { counts, sum: 1.25 });
        let text = page.finish();
        for line in [
            "h_bucket{route=\"/\",le=\"0.0005\"} 1\n",
            "h_bucket{route=\"/\",le=\"0.001\"} 1\n",
            "h_bucket{route=\"/\",le=\"0.0025\"} 3\n",
            "h_bucket{route=\"/\",le=\"60\"} 3\n",
            "h_bucket{route=\"/\",le=\"+Inf\"} 7\n",
            "h_sum{route=\"/\"} 1.25\nh_count{route=\"/\"} 7\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
