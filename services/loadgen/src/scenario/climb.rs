//! The search for the highest rate that is sustained.

use crate::field::Played;

/// The slowest of a hundred deliveries may take this long, and not longer, in a step that counts as sustained.
const P99_MS_MAX: f64 = 500.0;
/// What has to be delivered within the step's own time, of what is offered.
const DELIVERED_MIN: f64 = 0.97;
/// From one step to the next while climbing.
const FACTOR: f64 = 1.6;
/// Halvings of the last gap.
const HALVINGS: usize = 3;
/// Steps in all.
const STEPS_MAX: usize = 24;

/// Why a step is not sustained; `None` if it is.
#[must_use]
pub fn objection(played: &Played, followers_per_message: f64) -> Option<String> {
    let counts = &played.window.counts;
    let p99_ms = played.window.latency_of_all().percentile_ms(99.0);
    let share = played.deliveries_per_second / (played.offered * followers_per_message);
    if counts.wrongs() + played.verdict.holes + played.verdict.reordered > 0 {
        Some(format!("wrong deliveries: {counts:?} {:?}", played.verdict))
    } else if counts.closed > 0 {
        Some(format!("{} sockets were closed", counts.closed))
    } else if counts.refused > 0 {
        Some(format!("{} messages were refused", counts.refused))
    } else if played.missing > 0 {
        Some(format!("{} deliveries are missing", played.missing))
    } else if p99_ms > P99_MS_MAX {
        Some(format!("p99 is {p99_ms:.0} ms"))
    } else if share < DELIVERED_MIN {
        Some(format!("{:.0} % were delivered in time", share * 100.0))
    } else {
        None
    }
}

/// Plays at growing rates until one is not sustained, then looks between; returns the best rate with what it came to. `None`: not even
/// the first is sustained.
///
/// # Errors
/// What playing says.
pub fn climb<T>(
    first: f64,
    mut play: impl FnMut(f64) -> anyhow::Result<(T, Option<String>)>,
) -> anyhow::Result<Option<(f64, T)>> {
    let (mut rate, mut best, mut too_much) = (first, None, None::<f64>);
    let mut halvings = 0;
    for _ in 0..STEPS_MAX {
        let (played, objection) = play(rate)?;
        match objection {
            None => best = Some((rate, played)),
            Some(_) => too_much = Some(rate),
        }
        let Some(reached) = best.as_ref().map(|(rate, _)| *rate) else {
            // Lower, until something is.
            rate /= FACTOR * FACTOR;
            if rate < first / 100.0 {
                return Ok(None);
            }
            continue;
        };
        match too_much.filter(|too_much| *too_much > reached) {
            None => rate = reached * FACTOR,
            Some(too_much) => {
                halvings += 1;
                if halvings > HALVINGS {
                    break;
                }
                rate = (reached * too_much).sqrt();
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64, first: f64) -> Option<f64> {
        let play = |rate: f64| Ok(((), (rate > limit).then(|| "too much".to_owned())));
        climb(first, play).expect("it plays").map(|(rate, ())| rate)
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for limit in [120.0, 1_000.0, 31_415.0] {
            for first in [100.0, 900.0] {
                let rate = found(limit, first).expect("there is one");
                assert!(rate <= limit && rate > limit * 0.9, "{rate} for {limit} from {first}");
            }
        }
    }

    #[test]
    fn where_nothing_is_sustained_the_search_ends() {
        assert_eq!(found(0.0, 100.0), None);
    }
}
