//! The clock of the server: the only place that reads the wall clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;
use tokio::sync::Notify;

/// Returns the current time. Tests pass their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Returns the time that has passed since a fixed moment, whatever clocks are set to. Tests pass their own.
pub type Uptime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The difference between wall clock and uptime, in milliseconds, that is not taken for a leap: the wall clock is
/// slewed, and the two are not read at the same instant.
const TOLERANCE_MILLIS: u64 = 2_000;
/// How long a leap back has to last before it is followed. Nothing expires because of it.
const TIMEOUT_BACK: Duration = Duration::from_secs(3);
/// How long a leap forward has to last before it is followed, since messages may expire because of it.
const TIMEOUT_FORWARD: Duration = Duration::from_secs(60);

/// Returns the clock of the machine. A clock set before 1970 reads as 1970.
pub fn system() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Returns an [`Uptime`] that starts at this call, and counts while the machine is awake.
pub fn uptime() -> Uptime {
    let begun = Instant::now();
    Arc::new(move || begun.elapsed())
}

/// The time of the server. It is the time of the wall clock, but never leaps by itself: if the wall clock leaps, it
/// continues at the same pace until the leap has lasted for a while and is [taken](Self::take). A wall clock that is
/// wrong for a moment is thus not followed, and the caller that takes a leap can first adjust what depends on it.
pub struct SteadyClock {
    wall: Clock,
    uptime: Uptime,
    state: Mutex<State>,
}

struct State {
    /// The time at which uptime was zero.
    begun: Timestamp,
    /// A leap of the wall clock in milliseconds, and the uptime when it was first seen.
    leap: Option<(i64, Duration)>,
}

impl SteadyClock {
    /// Creates a clock that starts with the time of the wall clock.
    pub fn new(wall: Clock, uptime: Uptime) -> Self {
        let begun = wall().moved(millis(uptime()).saturating_neg());
        Self { wall, uptime, state: Mutex::new(State { begun, leap: None }) }
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        let mut state = self.lock();
        // Both are read under the lock, so that two concurrent calls do not see each other's past as a leap.
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

    /// Returns by how many milliseconds the wall clock was set, forward or back. `None` if it was not, or if the leap
    /// has not lasted long enough or was already taken.
    pub fn leap(&self) -> Option<i64> {
        self.now();
        let (leap, since) = self.lock().leap?;
        let timeout = if leap < 0 { TIMEOUT_BACK } else { TIMEOUT_FORWARD };
        ((self.uptime)().saturating_sub(since) >= timeout).then_some(leap)
    }

    /// Sets this clock forward by a number of milliseconds, or back if it is negative.
    pub fn take(&self, leap: i64) {
        let mut state = self.lock();
        state.begun = state.begun.moved(leap);
        state.leap = None;
    }

    /// Returns this as a [`Clock`].
    pub fn clock(self: &Arc<Self>) -> Clock {
        let steady = Arc::clone(self);
        Arc::new(move || steady.now())
    }

    /// Locks the state. After a panic it is still consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the clock of a replicated log has been away from that of its stream.
#[derive(Debug, Default)]
pub struct LeapWatch {
    /// A leap of the clock of the stream in milliseconds, and when it was first seen.
    leap: Option<(i64, Instant)>,
}

impl LeapWatch {
    /// Takes note of a leap of the clock of the stream in milliseconds, which is 0 if there is none. Returns it when the log
    /// is to follow it: a leap forward after 60 seconds, since messages may expire because of it, and one back after 3.
    pub fn see(&mut self, leap: i64, now: Instant) -> Option<i64> {
        if !is_leap(leap) {
            self.leap = None;
            return None;
        }
        if self.leap.is_none_or(|(before, _)| is_leap(before.saturating_sub(leap))) {
            self.leap = Some((leap, now));
        }
        let (_, since) = self.leap?;
        let timeout = if leap < 0 { TIMEOUT_BACK } else { TIMEOUT_FORWARD };
        (now.saturating_duration_since(since) >= timeout).then_some(leap)
    }
}

/// The time of a node that reads a replicated log: the time of the newest message that was applied as it came, and what
/// has passed here since. Before there was one, the wall clock of the node counts if it is later: what has expired while the
/// node was stopped is not shown again, and nothing is decided by it.
pub struct ReplicaClock {
    uptime: Uptime,
    wall: Clock,
    newest: RwLock<Newest>,
    leapt: Notify,
}

/// The time of the newest message.
#[derive(Clone, Copy)]
struct Newest {
    at: Timestamp,
    /// The uptime when it was applied.
    then: Duration,
    /// Whether it was applied as it came.
    is_live: bool,
}

impl ReplicaClock {
    /// Creates a clock that starts with the time of the newest message that is stored, or of the wall clock.
    pub fn new(newest: Timestamp, uptime: Uptime, wall: Clock) -> Self {
        let newest = RwLock::new(Newest { at: newest, then: uptime(), is_live: false });
        Self { uptime, wall, newest, leapt: Notify::new() }
    }

    /// Notes the time of a message that was applied as it came.
    pub fn follow(&self, at: Timestamp) {
        let away = difference(at, self.now());
        self.note(Newest { at, then: (self.uptime)(), is_live: true });
        if is_leap(away) {
            self.leapt.notify_one();
        }
    }

    /// Notes the time of a message that was applied later than it came: the time now is not before it.
    pub fn pass(&self, at: Timestamp) {
        let known = self.newest();
        let then = (self.uptime)();
        if at > known.after(then) {
            self.note(Newest { at, then, ..known });
        }
    }

    /// Waits until the time has leapt: a node that was started while the log could not be read does not know how late it
    /// is, and a machine that slept does not either. For one task.
    pub async fn leapt(&self) {
        self.leapt.notified().await;
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        let newest = self.newest();
        let now = newest.after((self.uptime)());
        if newest.is_live { now } else { now.max((self.wall)()) }
    }

    fn newest(&self) -> Newest {
        *self.newest.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, newest: Newest) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = newest;
    }

    /// Returns how long the process has been running.
    pub fn uptime(&self) -> Duration {
        (self.uptime)()
    }

    /// Returns this as a [`Clock`].
    pub fn clock(self: &Arc<Self>) -> Clock {
        let replica = Arc::clone(self);
        Arc::new(move || replica.now())
    }
}

impl Newest {
    /// Returns the time at an uptime.
    fn after(self, uptime: Duration) -> Timestamp {
        self.at.moved(millis(uptime.saturating_sub(self.then)))
    }
}

/// Returns `to - from` in milliseconds, saturating at the bounds of the type.
pub fn difference(to: Timestamp, from: Timestamp) -> i64 {
    i64::try_from(i128::from(to.0) - i128::from(from.0)).unwrap_or(if to > from {
        i64::MAX
    } else {
        i64::MIN
    })
}

/// Returns whether a difference in milliseconds is greater than slewing a clock explains.
pub fn is_leap(millis: i64) -> bool {
    millis.unsigned_abs() > TOLERANCE_MILLIS
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;

    use super::*;

    const BEGUN: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;

    /// A wall clock and an uptime in milliseconds, both of which tests can set.
    struct FakeClock {
        wall: Arc<AtomicU64>,
        passed: Arc<AtomicU64>,
        steady: SteadyClock,
    }

    impl FakeClock {
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

        /// Returns the seconds since [`BEGUN`].
        fn seconds(&self) -> u64 {
            self.steady.now().millis_since(Timestamp(BEGUN)) / 1_000
        }
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_is_ignored() {
        let fake_clock = FakeClock::new();
        for leap in [2 * DAY as i64, -2 * (DAY as i64)] {
            let before = fake_clock.seconds();
            fake_clock.set(leap);
            fake_clock.pass(2);
            assert_eq!((fake_clock.seconds(), fake_clock.steady.leap()), (before + 2, None));
            fake_clock.set(-leap);
            fake_clock.pass(3_600);
            assert_eq!((fake_clock.seconds(), fake_clock.steady.leap()), (before + 3_602, None));
        }
    }

    #[test]
    fn a_leap_that_lasts_is_believed_a_leap_back_sooner() {
        let fake_clock = FakeClock::new();
        fake_clock.set(DAY as i64);
        fake_clock.pass(59);
        assert_eq!(fake_clock.steady.leap(), None);
        fake_clock.pass(1);
        assert_eq!(fake_clock.steady.leap(), Some(DAY as i64));
        assert_eq!(fake_clock.seconds(), 60, "not before it is taken");
        fake_clock.steady.take(DAY as i64);
        assert_eq!((fake_clock.seconds(), fake_clock.steady.leap()), (60 + DAY / 1_000, None));
        fake_clock.set(-(DAY as i64));
        fake_clock.pass(3);
        assert_eq!(fake_clock.steady.leap(), Some(-(DAY as i64)));
        fake_clock.steady.take(-(DAY as i64));
        assert_eq!(fake_clock.seconds(), 63);
    }

    #[test]
    fn the_leap_of_a_stream_is_followed_once_it_has_lasted_and_one_back_sooner() {
        let mut watch = LeapWatch::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (hour, second) = (3_600_000, 1_000);
        assert_eq!(watch.see(0, at(0)), None);
        assert_eq!((watch.see(hour, at(1)), watch.see(hour + second, at(60))), (None, None));
        assert_eq!(watch.see(hour, at(61)), Some(hour));
        assert_eq!(watch.see(hour, at(62)), Some(hour), "it has not been followed yet");
        assert_eq!((watch.see(0, at(63)), watch.see(hour, at(64))), (None, None));
        assert_eq!((watch.see(-hour, at(200)), watch.see(-hour, at(202))), (None, None), "another leap");
        assert_eq!(watch.see(-hour, at(203)), Some(-hour));
    }

    /// A wall clock that stands still, an uptime in milliseconds, and a clock that begins with [`BEGUN`].
    fn replica(wall: u64) -> (Arc<AtomicU64>, Arc<ReplicaClock>) {
        let passed = Arc::new(AtomicU64::new(7_000));
        let up = Arc::clone(&passed);
        let uptime: Uptime = Arc::new(move || Duration::from_millis(up.load(Ordering::Relaxed)));
        let clock = ReplicaClock::new(Timestamp(BEGUN), uptime, Arc::new(move || Timestamp(wall)));
        (passed, Arc::new(clock))
    }

    #[test]
    fn the_time_of_a_replica_goes_on_from_the_newest_message() {
        let (passed, clock) = replica(0);
        passed.fetch_add(500, Ordering::Relaxed);
        assert_eq!(clock.now(), Timestamp(BEGUN + 500));
        clock.follow(Timestamp(BEGUN + DAY));
        passed.fetch_add(20, Ordering::Relaxed);
        assert_eq!((clock.clock())(), Timestamp(BEGUN + DAY + 20));
        assert_eq!(clock.leapt().now_or_never(), Some(()));
        clock.follow(Timestamp(BEGUN + DAY + 30));
        assert_eq!(clock.leapt().now_or_never(), None, "it was a few milliseconds late");
        clock.follow(Timestamp(BEGUN + DAY + 20));
        assert_eq!(clock.uptime(), Duration::from_millis(7_520));
    }

    #[test]
    fn a_replica_that_has_not_read_on_yet_takes_what_it_has_to_be_as_old_as_it_is() {
        let (passed, clock) = replica(BEGUN + DAY);
        assert_eq!(clock.now(), Timestamp(BEGUN + DAY), "it was stopped for a day");
        clock.pass(Timestamp(BEGUN + 1_000));
        assert_eq!(clock.now(), Timestamp(BEGUN + DAY));
        clock.follow(Timestamp(BEGUN + 2 * DAY));
        clock.pass(Timestamp(BEGUN + DAY));
        passed.fetch_add(20, Ordering::Relaxed);
        assert_eq!(
            clock.now(),
            Timestamp(BEGUN + 2 * DAY + 20),
            "while it catches up, the time does not go back"
        );
        clock.pass(Timestamp(BEGUN + 3 * DAY));
        assert_eq!(clock.now(), Timestamp(BEGUN + 3 * DAY));
        clock.follow(Timestamp(BEGUN));
        assert_eq!(clock.now(), Timestamp(BEGUN), "the clock of the log counts, and not that of the node");
    }

    #[test]
    fn a_clock_that_is_trimmed_is_followed_at_once() {
        let fake_clock = FakeClock::new();
        for by in [1_900, -1_900, 1_000, 2_000] {
            fake_clock.pass(10);
            fake_clock.set(by);
            assert_eq!(fake_clock.steady.now().0, fake_clock.wall.load(Ordering::Relaxed));
        }
        assert_eq!(fake_clock.steady.leap(), None);
    }
}
