//! The one place that asks what time it is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;

/// Tells the time. Tests hand in their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Tells how much time has passed since some moment, whatever clocks are set to. Tests hand in their own.
pub type Uptime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What the wall clock may be away from the time that passes: it is trimmed, and both are not read at once.
const TOLERANCE_MILLIS: u64 = 2_000;
/// A leap back is believed when it has lasted for so long. Nothing expires by it.
const PATIENCE_BACK: Duration = Duration::from_secs(3);
/// A leap forward is believed when it has lasted for so long, since messages may expire by it.
const PATIENCE_FORWARD: Duration = Duration::from_secs(60);

/// The clock of the machine. A clock set before 1970 reads as 1970.
pub fn system() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// The time that passes on this machine while it is awake.
pub fn uptime() -> Uptime {
    let begun = Instant::now();
    Arc::new(move || begun.elapsed())
}

/// The time of the server: that of the wall clock, but that it passes as time does. Where the wall clock leaps, it goes on
/// as if nothing were, until the leap has lasted for a while and is [taken](Self::take): so a clock that is wrong for a
/// moment is not followed, and whoever follows a leap can see to it that nobody is the older for it.
pub struct SteadyClock {
    wall: Clock,
    uptime: Uptime,
    state: Mutex<State>,
}

struct State {
    /// The time when uptime began.
    begun: Timestamp,
    /// A leap of the wall clock, in milliseconds, and the uptime when it was seen first.
    leap: Option<(i64, Duration)>,
}

impl SteadyClock {
    /// Starts with what the wall clock says.
    pub fn new(wall: Clock, uptime: Uptime) -> Self {
        let begun = wall().moved(millis(uptime()).saturating_neg());
        Self { wall, uptime, state: Mutex::new(State { begun, leap: None }) }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        let mut state = self.lock();
        // read under the lock, so that two that ask at once do not see each other's past as a leap
        let (wall, uptime) = ((self.wall)(), (self.uptime)());
        let now = state.begun.moved(millis(uptime));
        let away = difference(wall, now);
        if away.unsigned_abs() <= TOLERANCE_MILLIS {
            state.begun = state.begun.moved(away);
            state.leap = None;
            return wall;
        }
        let is_same = |leap: i64| leap.saturating_sub(away).unsigned_abs() <= TOLERANCE_MILLIS;
        if state.leap.is_none_or(|(leap, _)| !is_same(leap)) {
            state.leap = Some((away, uptime));
        }
        now
    }

    /// By how many milliseconds the wall clock was set, forward or back, where that has lasted for long enough to be
    /// believed and was not taken yet; `None` otherwise.
    pub fn leap(&self) -> Option<i64> {
        self.now();
        let (leap, since) = self.lock().leap?;
        let patience = if leap < 0 { PATIENCE_BACK } else { PATIENCE_FORWARD };
        ((self.uptime)().saturating_sub(since) >= patience).then_some(leap)
    }

    /// Is set, forward by so many milliseconds or back by as many.
    pub fn take(&self, leap: i64) {
        let mut state = self.lock();
        state.begun = state.begun.moved(leap);
        state.leap = None;
    }

    /// As a clock.
    pub fn clock(self: &Arc<Self>) -> Clock {
        let steady = Arc::clone(self);
        Arc::new(move || steady.now())
    }

    /// What a panic elsewhere left behind is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From one time to another, in milliseconds: less than nothing where that is the earlier one.
pub fn difference(to: Timestamp, from: Timestamp) -> i64 {
    i64::try_from(i128::from(to.0) - i128::from(from.0)).unwrap_or(if to > from {
        i64::MAX
    } else {
        i64::MIN
    })
}

/// Whether a difference is more than a clock that is trimmed makes.
pub fn is_leap(millis: i64) -> bool {
    millis.unsigned_abs() > TOLERANCE_MILLIS
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const BEGUN: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;

    /// A wall clock and a time that passes, both to be set, in milliseconds.
    struct Hands {
        wall: Arc<AtomicU64>,
        passed: Arc<AtomicU64>,
        steady: SteadyClock,
    }

    impl Hands {
        fn new() -> Self {
            let (wall, passed) = (Arc::new(AtomicU64::new(BEGUN)), Arc::new(AtomicU64::new(7_000)));
            let (shown, up) = (Arc::clone(&wall), Arc::clone(&passed));
            let steady = SteadyClock::new(
                Arc::new(move || Timestamp(shown.load(Ordering::Relaxed))),
                Arc::new(move || Duration::from_millis(up.load(Ordering::Relaxed))),
            );
            Self { wall, passed, steady }
        }

        fn set(&self, by: i64) {
            let wall = Timestamp(self.wall.load(Ordering::Relaxed)).moved(by);
            self.wall.store(wall.0, Ordering::Relaxed);
            self.steady.now();
        }

        fn pass(&self, seconds: u64) {
            self.wall.fetch_add(seconds * 1_000, Ordering::Relaxed);
            self.passed.fetch_add(seconds * 1_000, Ordering::Relaxed);
        }

        /// Since it began.
        fn seconds(&self) -> u64 {
            self.steady.now().millis_since(Timestamp(BEGUN)) / 1_000
        }
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_is_not_followed() {
        let hands = Hands::new();
        for leap in [2 * DAY as i64, -2 * (DAY as i64)] {
            let before = hands.seconds();
            hands.set(leap);
            hands.pass(2);
            assert_eq!((hands.seconds(), hands.steady.leap()), (before + 2, None));
            hands.set(-leap);
            hands.pass(3_600);
            assert_eq!((hands.seconds(), hands.steady.leap()), (before + 3_602, None));
        }
    }

    #[test]
    fn a_leap_that_lasts_is_believed_a_leap_back_sooner() {
        let hands = Hands::new();
        hands.set(DAY as i64);
        hands.pass(59);
        assert_eq!(hands.steady.leap(), None);
        hands.pass(1);
        assert_eq!(hands.steady.leap(), Some(DAY as i64));
        assert_eq!(hands.seconds(), 60, "not before it is taken");
        hands.steady.take(DAY as i64);
        assert_eq!((hands.seconds(), hands.steady.leap()), (60 + DAY / 1_000, None));
        hands.set(-(DAY as i64));
        hands.pass(3);
        assert_eq!(hands.steady.leap(), Some(-(DAY as i64)));
        hands.steady.take(-(DAY as i64));
        assert_eq!(hands.seconds(), 63);
    }

    #[test]
    fn a_clock_that_is_trimmed_is_followed_at_once() {
        let hands = Hands::new();
        for by in [1_900, -1_900, 1_000, 2_000] {
            hands.pass(10);
            hands.set(by);
            assert_eq!(hands.steady.now().0, hands.wall.load(Ordering::Relaxed));
        }
        assert_eq!(hands.steady.leap(), None);
    }
}
