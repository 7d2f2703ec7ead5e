//! The back-off of a client that lost its connection.
//!
//! Waits have full jitter: they are spread over their whole range, so that a thousand pages that lost the same server
//! do not reconnect at once ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

/// The longest of the first waits, in milliseconds: after a short outage, such as a tunnel, a page is back within half a second.
pub const AT_ONCE_MILLIS: u32 = 200;
/// The number of attempts, over three to four seconds, after which it is no short outage.
const AT_ONCE_ATTEMPTS: u32 = 36;
/// The longest of the next waits, in milliseconds. A server that restarts is back in a second or two, and all pages
/// within two seconds after that (docs/guarantees.md): there has to be time left to connect.
const SOON_MILLIS: u32 = 1_500;
/// The number of attempts, over about half a minute, after which it is no mere restart.
const SOON_ATTEMPTS: u32 = 66;
/// The longest wait from then on, in milliseconds, and whenever the device reports that it is offline.
const LATER_MILLIS: u32 = 15_000;

/// Returns how many milliseconds to wait before attempt number `attempt`, counted from 0. `random` is a random number
/// from 0 to 1; `online` is whether the device reports a network.
pub fn wait_millis(attempt: u32, random: f64, online: bool) -> u32 {
    spread(
        match attempt {
            _ if !online => LATER_MILLIS,
            0..AT_ONCE_ATTEMPTS => AT_ONCE_MILLIS,
            AT_ONCE_ATTEMPTS..SOON_ATTEMPTS => SOON_MILLIS,
            SOON_ATTEMPTS.. => LATER_MILLIS,
        },
        random,
    )
}

/// Returns how many milliseconds to wait if the server asked to reconnect within `seconds`. `random` is a random number
/// from 0 to 1.
pub fn retry_after_millis(seconds: u32, random: f64) -> u32 {
    spread(seconds.saturating_mul(1_000), random)
}

fn spread(longest: u32, random: f64) -> u32 {
    (f64::from(longest) * random.clamp(0.0, 1.0)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_capped() {
        let longest = [0, 1, 35, 36, 65, 66, u32::MAX].map(|attempt| wait_millis(attempt, 1.0, true));
        assert_eq!(longest, [200, 200, 200, 1_500, 1_500, 15_000, 15_000]);
        assert_eq!(retry_after_millis(1, 2.0), 1_000);
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        assert_eq!(wait_millis(40, 0.0, true), 0);
        assert_eq!(wait_millis(40, 0.5, true), 750);
        assert_eq!((retry_after_millis(1, 0.25), retry_after_millis(u32::MAX, 0.0)), (250, 0));
    }

    #[test]
    fn retries_are_rare_without_a_network() {
        assert_eq!(wait_millis(0, 1.0, false), 15_000);
    }
}
