//! For a terminal.

use std::fmt::Write;

use super::{Fact, Report, Result, Step};

fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.abs() >= 1_000.0 {
        let whole = format!("{value:.0}");
        let mut out = String::new();
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) && digit != '-' {
                out.push(' ');
            }
            out.push(digit);
        }
        out
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// A figure with its unit, and its ratio to the floor's.
#[must_use]
pub fn figure(fact: &Fact) -> String {
    let mut text = format!("{} {}", number(fact.value), fact.unit);
    if let Some(floor) = fact.floor {
        let _ = write!(text, " = {}× the floor's {}", number(fact.value / floor), number(floor));
    }
    text.trim().to_owned()
}

fn step(step: &Step, out: &mut String) {
    let [p50, p90, p99, _, max] = step.latency_ms;
    let _ = writeln!(
        out,
        "  {:<28} {:>8} msg/s {:>10}/s  p50 {:>8} p90 {:>8} p99 {:>8} max {:>8} ms  {:>7} µs CPU (tool {:>6}, late {:>5} + {:>5} ms, {} rests)  {}",
        step.label,
        number(step.offered_per_second),
        number(step.deliveries_per_second),
        number(p50),
        number(p90),
        number(p99),
        number(max),
        number(step.cpu_us),
        number(step.own_cpu_us),
        number(step.sent_late_ms),
        number(step.read_late_ms),
        step.rests,
        step.objection.as_deref().unwrap_or(if step.wrong == 0 { "" } else { "WRONG DELIVERIES" }),
    );
    if let Some(tool) = &step.tool {
        let _ = writeln!(out, "  {:<28} ^ the tool may be the limit: {tool}", "");
    }
}

/// One scenario's results.
#[must_use]
pub fn result(result: &Result) -> String {
    let mut out = format!("\n{}\n", result.title);
    result.steps.iter().for_each(|one| step(one, &mut out));
    for fact in &result.facts {
        let _ = writeln!(out, "  {:<52} {}", fact.name, figure(fact));
    }
    for note in &result.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}

/// All of it.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut out = format!("{}\n{}\n", report.title, report.machine.join("; "));
    report.results.iter().for_each(|one| out.push_str(&result(one)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        assert_eq!([0.0, 0.1234, 7.834, 250.4, 1_204_999.0].map(number), ["0", "0.123", "7.83", "250", "1 204 999"]);
    }

    #[test]
    fn a_figure_says_how_it_stands_to_the_floor() {
        let fact = Fact { name: String::new(), value: 9.0, unit: "µs", floor: Some(6.0) };
        assert_eq!(figure(&fact), "9.00 µs = 1.50× the floor's 6.00");
    }
}
