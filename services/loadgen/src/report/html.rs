//! A page that needs nothing else: figures, steps, plots.

use std::fmt::Write;

use super::svg::{Series, escaped, lines};
use super::{Report, Result, Step, text};
use crate::observer::Sample;

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1240px;padding:0 1rem;color:#1c2227;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}table{display:block;overflow-x:auto;border-collapse:collapse;margin:.6rem 0;font-variant-numeric:tabular-nums}\
th,td{padding:.2rem .4rem;border-bottom:1px solid #dde3e7;text-align:right}th:first-child,td:first-child{text-align:left}\
svg{width:460px;max-width:100%;margin:.3rem .6rem .3rem 0}svg text{font:9.5px system-ui,sans-serif;fill:#444}svg .t{font-size:11px;font-weight:600}\
svg .y{text-anchor:end}svg .g{stroke:#e3e8eb;fill:none}svg .l{fill:none;stroke-width:1.6}.bad{color:#a61e3c}summary{cursor:pointer}";

fn rows(steps: &[Step]) -> String {
    let mut out = String::from(
        "<table><tr><th>step<th>messages/s<th>deliveries/s<th>p50<th>p90<th>p99<th>p99.9<th>max ms<th>acknowledged p50<th>p99<th>CPU µs a delivery\
         <th>by process<th>tool µs<th>tool busy<th>waited<th>sent ms late<th>read ms late<th>rests<th>a read<th>remarks</tr>",
    );
    for step in steps {
        let by_process = step.cpu_us_by_process.iter().map(|(name, us)| format!("{name} {us:.2}")).collect::<Vec<_>>();
        let remarks = [&step.objection, &step.tool]
            .into_iter()
            .flatten()
            .map(|text| escaped(text))
            .collect::<Vec<_>>()
            .join("; ");
        let latency = step.latency_ms.iter().map(|ms| format!("<td>{ms:.2}")).collect::<String>();
        let _ = write!(
            out,
            "<tr><td>{}<td>{:.1}<td>{:.0}{latency}<td>{:.2}<td>{:.2}<td>{:.3}<td>{}<td>{:.3}<td>{:.0} %<td>{:.0} %<td>{:.1}<td>{:.1}<td>{}<td>{:.2}<td class=bad>{remarks}</tr>",
            escaped(&step.label),
            step.offered_per_second,
            step.deliveries_per_second,
            step.acknowledged_ms[0],
            step.acknowledged_ms[1],
            step.cpu_us,
            escaped(&by_process.join(", ")),
            step.own_cpu_us,
            step.busiest.0 * 100.0,
            step.busiest.1 * 100.0,
            step.sent_late_ms,
            step.read_late_ms,
            step.rests,
            step.deliveries_per_read,
        );
    }
    out + "</table>"
}

fn series(name: &str, samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Series {
    (name.to_owned(), samples.iter().map(|sample| (sample.at_seconds, of(sample))).collect())
}

fn plots(step: &Step, processes: &[String]) -> String {
    let samples = &step.samples;
    let by_process = |of: &dyn Fn(&Sample, usize) -> f64| -> Vec<Series> {
        let known = samples.first().map_or(0, |sample| sample.cpu.len());
        let name =
            |place: usize| processes.get(place).filter(|_| known == processes.len()).map_or("floor", String::as_str);
        (0..known).map(|place| series(name(place), samples, |sample| of(sample, place))).collect()
    };
    let latency = [series("p50", samples, |sample| sample.p50_ms), series("p99", samples, |sample| sample.p99_ms)];
    let percentiles =
        [50.0, 10.0, 1.0, 0.1].into_iter().zip(step.latency_ms).map(|(above, ms)| (100.0 / above, ms)).collect();
    [
        lines(
            "deliveries a second",
            "s",
            false,
            &[series("deliveries/s", samples, |sample| sample.deliveries_per_second)],
        ),
        lines("latency over time, ms", "s", false, &latency),
        lines("latency that one in so many exceeds, ms", "one in", true, &[("latency".to_owned(), percentiles)]),
        lines("CPU, % of a core", "s", false, &by_process(&|sample, place| sample.cpu[place] * 100.0)),
        lines("memory, MiB", "s", false, &by_process(&|sample, place| sample.memory[place] as f64 / 1_048_576.0)),
    ]
    .concat()
}

/// How figures change from step to step.
fn overview(steps: &[Step]) -> String {
    let mut sorted: Vec<&Step> = steps.iter().filter(|step| step.delivered > 0).collect();
    sorted.sort_by(|one, other| one.deliveries_per_second.total_cmp(&other.deliveries_per_second));
    let line = |name: &str, floor: bool, of: &dyn Fn(&Step) -> f64| -> Series {
        let own = sorted.iter().filter(|step| step.label.starts_with("floor") == floor);
        (name.to_owned(), own.map(|step| (step.deliveries_per_second.max(1.0), of(step))).collect())
    };
    let cpu = [line("nodes", false, &|step| step.cpu_us), line("floor", true, &|step| step.cpu_us)];
    let p99 = [line("nodes", false, &|step| step.latency_ms[2]), line("floor", true, &|step| step.latency_ms[2])];
    [lines("CPU a delivery, µs", "deliveries/s", true, &cpu), lines("p99, ms", "deliveries/s", true, &p99)].concat()
}

fn section(result: &Result, processes: &[String]) -> String {
    let mut out = format!("<h2>{}</h2>", escaped(&result.title));
    if !result.facts.is_empty() {
        out.push_str("<table>");
        for fact in &result.facts {
            let _ = write!(out, "<tr><td>{}<td>{}</tr>", escaped(&fact.name), escaped(&text::figure(fact)));
        }
        out.push_str("</table>");
    }
    for plot in &result.plots {
        out.push_str(&lines(&plot.title, plot.x_name, true, &plot.lines));
    }
    result.notes.iter().for_each(|note| {
        let _ = write!(out, "<p>{}</p>", escaped(note));
    });
    if !result.steps.is_empty() {
        out.push_str(&overview(&result.steps));
        out.push_str(&rows(&result.steps));
        for step in result.steps.iter().filter(|step| step.samples.len() > 1) {
            let _ =
                write!(out, "<details><summary>{}</summary>{}</details>", escaped(&step.label), plots(step, processes));
        }
    }
    out
}

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let sections: String = report.results.iter().map(|result| section(result, &report.processes)).collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style>\
         <h1>{0}</h1><p>{1}</p>{sections}</html>",
        escaped(&report.title),
        escaped(&report.machine.join("; "))
    )
}
