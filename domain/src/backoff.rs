//! How long a client that lost its connection waits before it tries again.
//!
//! Waits are spread over their whole range, so that a thousand pages that lost the same server do not come back as one
//! ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter).

/// The longest of the first waits, in milliseconds: whoever drove through a tunnel is back within half a second of its end.
pub const AT_ONCE_MILLIS: u32 = 200;
/// After this many attempts, three to four seconds, it is no mere tunnel.
const AT_ONCE_ATTEMPTS: u32 = 36;
/// A server that restarts is back in a second or two, and everybody within two seconds after that (docs/guarantees.md):
/// there has to be time left to connect.
const SOON_MILLIS: u32 = 1_500;
/// After this many attempts, about half a minute, it is no mere restart.
const SOON_ATTEMPTS: u32 = 66;
/// From then on nobody hurries, and neither where the device says that it has no network.
const LATER_MILLIS: u32 = 15_000;

/// Milliseconds to wait before attempt number `attempt`, counted from 0, given `chance` between 0 and 1 and whether the
/// device believes to have a network.
pub fn wait_millis(attempt: u32, chance: f64, online: bool) -> u32 {
    spread(
        match attempt {
            _ if !online => LATER_MILLIS,
            0..AT_ONCE_ATTEMPTS => AT_ONCE_MILLIS,
            AT_ONCE_ATTEMPTS..SOON_ATTEMPTS => SOON_MILLIS,
            SOON_ATTEMPTS.. => LATER_MILLIS,
        },
        chance,
    )
}

/// Milliseconds to wait for somebody who was told to come back within so many seconds, given `chance` between 0 and 1.
pub fn told_millis(seconds: u32, chance: f64) -> u32 {
    spread(seconds.saturating_mul(1_000), chance)
}

fn spread(longest: u32, chance: f64) -> u32 {
    (f64::from(longest) * chance.clamp(0.0, 1.0)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_capped() {
        let longest = [0, 1, 35, 36, 65, 66, u32::MAX].map(|attempt| wait_millis(attempt, 1.0, true));
        assert_eq!(longest, [200, 200, 200, 1_500, 1_500, 15_000, 15_000]);
        assert_eq!(told_millis(1, 2.0), 1_000);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        assert_eq!(wait_millis(40, 0.0, true), 0);
        assert_eq!(wait_millis(40, 0.5, true), 750);
        assert_eq!((told_millis(1, 0.25), told_millis(u32::MAX, 0.0)), (250, 0));
    }

    #[test]
    fn nobody_hurries_without_a_network() {
        assert_eq!(wait_millis(0, 1.0, false), 15_000);
    }
}
