//! Line plots as inline SVG.

use std::fmt::Write;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 58.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 26.0;
const RIGHT: f64 = 10.0;
const COLOURS: [&str; 8] = ["#2563a8", "#c2571a", "#2e7d4f", "#8a3fa0", "#a61e3c", "#5b6770", "#917500", "#0f7c8a"];

/// A line: its name, and its points.
pub type Series = (String, Vec<(f64, f64)>);

/// Text that may stand in markup.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{:.1}M", value / 1e6),
        large if large >= 1e4 => format!("{:.0}k", value / 1e3),
        large if large >= 1e3 => format!("{:.1}k", value / 1e3),
        large if large >= 10.0 => format!("{value:.0}"),
        large if large >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A round number at or above `value`.
fn ceiling(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|round| *round >= value).unwrap_or(value)
}

/// A plot; nothing if there are no points. With `log`, the horizontal axis is logarithmic.
#[must_use]
pub fn lines(title: &str, x_name: &str, log: bool, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|(_, points)| points).filter(|(x, y)| x.is_finite() && y.is_finite());
    if points().count() < 2 {
        return String::new();
    }
    let scale = |x: f64| if log { x.max(1e-9).ln() } else { x };
    let x_min = points().map(|(x, _)| scale(*x)).fold(f64::INFINITY, f64::min);
    let x_max = points().map(|(x, _)| scale(*x)).fold(f64::NEG_INFINITY, f64::max).max(x_min + 1e-9);
    let y_max = ceiling(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let place = |x: f64, y: f64| {
        let across = LEFT + (scale(x) - x_min) / (x_max - x_min) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - y / y_max * (HEIGHT - BOTTOM - TOP))
    };
    let mut out = format!(
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{0}"><text x="{LEFT}" y="12" class="t">{0}</text>"#,
        escaped(title)
    );
    for quarter in 0..=4 {
        let value = y_max * f64::from(quarter) / 4.0;
        let y = HEIGHT - BOTTOM - f64::from(quarter) / 4.0 * (HEIGHT - BOTTOM - TOP);
        let _ = write!(
            out,
            r#"<path d="M{LEFT} {y:.1}H{}" class="g"/><text x="{}" y="{:.1}" class="y">{}</text>"#,
            WIDTH - RIGHT,
            LEFT - 4.0,
            y + 3.0,
            short(value)
        );
    }
    for (x, anchor) in [(x_min, "start"), (x_max, "end")] {
        let (across, _) = place(if log { x.exp() } else { x }, 0.0);
        let label = short(if log { x.exp() } else { x });
        let _ = write!(
            out,
            r#"<text x="{across:.1}" y="{}" text-anchor="{anchor}">{label}</text>"#,
            HEIGHT - BOTTOM + 12.0
        );
    }
    let _ = write!(
        out,
        r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
        f64::midpoint(WIDTH, LEFT),
        HEIGHT - 16.0,
        escaped(x_name)
    );
    let mut legend_at = LEFT;
    for ((name, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        for (x, y) in points {
            let (across, up) = place(*x, *y);
            let _ = write!(path, "{}{across:.1} {up:.1}", if path.is_empty() { 'M' } else { 'L' });
        }
        let _ = write!(out, r#"<path d="{path}" stroke="{colour}" class="l"/>"#);
        let _ =
            write!(out, r#"<text x="{legend_at:.0}" y="{}" fill="{colour}">{}</text>"#, HEIGHT - 4.0, escaped(name));
        legend_at += 14.0 + 6.0 * name.chars().count() as f64;
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_line_a_series_and_no_markup_of_others() {
        let series = [("a<b".to_owned(), vec![(1.0, 10.0), (2.0, 20.0)]), ("c".to_owned(), vec![(1.0, 5.0)])];
        let plot = lines("deliveries & more", "s", false, &series);
        assert_eq!(plot.matches(r#"class="l""#).count(), 2);
        assert!(plot.contains("a&lt;b") && plot.contains("deliveries &amp; more"));
        assert!(lines("nothing", "s", false, &[]).is_empty());
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 0.7, 3.0, 23.0, 99.0, 1_001.0].map(ceiling), [1.0, 1.0, 5.0, 25.0, 100.0, 2_000.0]);
    }
}
