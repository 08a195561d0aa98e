//! The search for the highest rate that is sustained.

use crate::field::Played;

/// The slowest of a hundred deliveries may take this long, and not longer, in a step that counts as sustained.
const P99_MS_MAX: f64 = 500.0;
/// The last delivery may come so long after the last message was due: what is behind by more is falling behind.
const OVERDUE_SECONDS_MAX: f64 = 1.0;
/// From one step to the next while climbing.
const FACTOR: f64 = 1.6;
/// Halvings of the last gap.
const HALVINGS: usize = 3;
/// Rates in all; a step or two each.
const STEPS_MAX: usize = 24;

/// Why a step is not sustained; `None` if it is.
#[must_use]
pub fn objection(played: &Played) -> Option<String> {
    let counts = &played.window.counts;
    let p99_ms = played.window.latency_of_all().percentile_ms(99.0);
    if counts.wrongs() + played.verdict.holes + played.verdict.reordered > 0 {
        Some(format!("wrong deliveries: {counts:?} {:?}", played.verdict))
    } else if counts.closed > 0 {
        Some(format!("{} sockets were closed", counts.closed))
    } else if counts.refused > 0 {
        Some(format!("{} messages were refused", counts.refused))
    } else if played.missing > 0 {
        Some(format!("{} deliveries are missing", played.missing))
    } else if played.unanswered > 0 {
        Some(format!("what became of {} messages is not known", played.unanswered))
    } else if p99_ms > P99_MS_MAX {
        Some(format!("p99 is {p99_ms:.0} ms"))
    } else if played.overdue > OVERDUE_SECONDS_MAX {
        Some(format!("the last came {:.1} s after all was sent", played.overdue))
    } else {
        None
    }
}

/// Plays at growing rates until one is not sustained, then looks between; returns the best rate with what it came to. `None`: not even
/// the first is sustained. A rate is too much if it is not sustained twice: a machine that stands still for a second in one of two dozen
/// steps would else decide what comes out, of the floor as of nodes.
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
        match twice(|| play(rate))? {
            Some(played) => best = Some((rate, played)),
            None => too_much = Some(rate),
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

/// What one of two goes came to that was sustained.
fn twice<T>(mut play: impl FnMut() -> anyhow::Result<(T, Option<String>)>) -> anyhow::Result<Option<T>> {
    for _ in 0..2 {
        if let (played, None) = play()? {
            return Ok(Some(played));
        }
    }
    Ok(None)
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
    fn one_step_in_which_the_machine_stood_still_decides_nothing() {
        for stalled in 0..20 {
            let mut steps = 0..;
            let play = |rate: f64| {
                let stalls = steps.next() == Some(stalled);
                Ok(((), (rate > 1_000.0 || stalls).then(|| "too much".to_owned())))
            };
            let (rate, ()) = climb(100.0, play).expect("it plays").expect("there is one");
            assert!(rate > 900.0, "{rate} if step {stalled} stalls");
        }
    }

    #[test]
    fn where_nothing_is_sustained_the_search_ends() {
        assert_eq!(found(0.0, 100.0), None);
    }
}
