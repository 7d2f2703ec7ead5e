//! How long to wait before the next attempt to connect.

/// The first waits double from here, in milliseconds.
const FIRST: f64 = 200.0;
/// A server that restarts is back in a second or two, and everybody within two seconds after that (docs/guarantees.md):
/// there has to be time left to connect.
const SOON: f64 = 1_500.0;
/// After this many attempts, about half a minute, it is no mere restart.
const SOON_ATTEMPTS: u32 = 30;
/// From then on nobody hurries, and neither where the device says that it has no network.
const LATER: f64 = 15_000.0;

/// Milliseconds to wait before attempt number `attempt`, counted from 0, given `chance` between 0 and 1 and whether the
/// device believes to have a network: exponential,
/// capped, and spread over its whole range, so that a thousand pages that lost the same server do not come back as
/// one ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter).
pub fn wait_millis(attempt: u32, chance: f64, online: bool) -> i32 {
    let longest = if online {
        let cap = if attempt < SOON_ATTEMPTS { SOON } else { LATER };
        (FIRST * 2_f64.powi(attempt.min(16) as i32)).min(cap)
    } else {
        LATER
    };
    (longest * chance.clamp(0.0, 1.0)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_capped() {
        let longest: Vec<i32> =
            [0, 1, 2, 3, 4, 29, 30, u32::MAX].map(|attempt| wait_millis(attempt, 1.0, true)).into();
        assert_eq!(longest, [200, 400, 800, 1_500, 1_500, 1_500, 15_000, 15_000]);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        assert_eq!(wait_millis(5, 0.0, true), 0);
        assert_eq!(wait_millis(5, 0.5, true), 750);
    }

    #[test]
    fn nobody_hurries_without_a_network() {
        assert_eq!(wait_millis(0, 1.0, false), 15_000);
    }
}
