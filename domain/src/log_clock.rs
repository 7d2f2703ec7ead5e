//! The clock of a log that many nodes read: gives each message a time, made of the time of the stream that carries it and
//! of the uptime of its sender. No node's wall clock is read, so all nodes get the same times.
//!
//! The time of the stream is that of whichever server leads it, so it leaps when another one with another clock becomes
//! the leader. The senders' uptimes, which nobody can set, show the leap, and the clock goes on as if there was none. Until
//! the clock is [set](LogClock::set) it is then [away](LogClock::away) from the time of the stream.
//!
//! An uptime can be wrong in one direction: it stands still while the machine is suspended, and is old if the message was on
//! its way for long. So a sender that counts less time than has passed in the log already shows no leap of the stream.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The difference in milliseconds between the time of the stream and the time that the sender's uptime makes one expect,
/// up to which the stream is believed: a message may be on its way for that long.
pub const TOLERANCE_MILLIS: u64 = 60_000;

/// What the clock keeps of a sender: which time belongs to which of its uptimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderClock {
    /// How long the sender had been running when it sent its newest message, in milliseconds.
    pub uptime_millis: u64,
    /// The time of that message, on the time line that knows neither leaps of the stream nor settings of the clock.
    pub steady: Timestamp,
    /// Whether the sender counted less time up to that message than had passed in the log.
    pub is_behind: bool,
}

/// The clock of a log. Part of the state of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogClock {
    /// What is added to the time of the stream, in milliseconds, to make up for its leaps.
    leapt_millis: i64,
    /// By how many milliseconds the clock was set, forward or back.
    set_millis: i64,
    /// The time of the newest message.
    last: Timestamp,
}

impl LogClock {
    /// Creates the clock of a log that goes on at the time `last`, and is `away` milliseconds ahead of the time of the
    /// stream, or behind it if negative.
    pub const fn new(last: Timestamp, away: i64) -> Self {
        Self { leapt_millis: away, set_millis: 0, last }
    }

    /// Returns the time of the newest message.
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// Returns by how many milliseconds this clock is ahead of the time of the stream, or behind it if negative.
    pub const fn away(&self) -> i64 {
        self.leapt_millis.saturating_add(self.set_millis)
    }

    /// Returns the time of a message, which is never earlier than that of the one before. `stream_time` is when the stream
    /// took the message, and `uptime_millis` how long its sender had been running when it sent the message. `sender` is
    /// what is known of the sender, or `None` for its first message, and is updated. The stream is believed where nothing is
    /// known of the sender.
    pub fn at(
        &mut self,
        stream_time: Timestamp,
        sender: &mut Option<SenderClock>,
        uptime_millis: u64,
    ) -> Timestamp {
        let by_stream = stream_time.moved(self.leapt_millis);
        // The time before it is kept within bounds: what is expected of the next message must not depend on others.
        let (steady, known) = match *sender {
            Some(SenderClock { uptime_millis: before, steady, is_behind }) => {
                let expected = steady.moved(difference(uptime_millis, before));
                if by_stream.0.abs_diff(expected.0) <= TOLERANCE_MILLIS {
                    (by_stream, SenderClock { uptime_millis, steady: by_stream, is_behind: false })
                } else if self.is_past(expected) && !self.is_past(by_stream) {
                    // After a message that was only late, the next one is as it was expected before. After a sleep it is
                    // behind by as much, and from then on that is what is expected.
                    let steady = if is_behind { by_stream } else { expected };
                    (by_stream, SenderClock { uptime_millis, steady, is_behind: !is_behind })
                } else {
                    self.leapt_millis = difference(expected.0, stream_time.0);
                    (expected, SenderClock { uptime_millis, steady: expected, is_behind: false })
                }
            }
            None => (by_stream, SenderClock { uptime_millis, steady: by_stream, is_behind: false }),
        };
        *sender = Some(known);
        self.last = self.last.max(steady.moved(self.set_millis));
        self.last
    }

    /// Returns whether a time, before the clock was set, is further in the past than a message may be on its way.
    const fn is_past(&self, steady: Timestamp) -> bool {
        self.last.millis_since(steady.moved(self.set_millis)) > TOLERANCE_MILLIS
    }

    /// Sets the clock forward by a number of milliseconds, or back if it is negative.
    pub fn set(&mut self, by: i64) {
        self.set_millis = self.set_millis.saturating_add(by);
        self.last = self.last.moved(by);
    }
}

/// Returns `to - from`, saturating at the bounds of the type.
const fn difference(to: u64, from: u64) -> i64 {
    if to >= from {
        let more = to - from;
        if more > i64::MAX as u64 { i64::MAX } else { more as i64 }
    } else {
        let less = from - to;
        if less > i64::MAX as u64 { i64::MIN } else { -(less as i64) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const BEGUN: u64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;
    /// How long the messages of these tests are on their way at most, in milliseconds.
    const LATE: u64 = 5_000;

    /// Senders whose messages a stream takes at true times.
    #[derive(Default)]
    struct Cluster {
        clock: LogClock,
        senders: HashMap<u8, Option<SenderClock>>,
    }

    impl Cluster {
        /// Returns the time of a message that is taken at a true time, by a stream whose clock is wrong, after it was on its
        /// way for `late`.
        fn message(&mut self, sender: u8, true_time: u64, wrong: i64, late: u64) -> u64 {
            // Each has started at another time.
            let uptime = true_time + 1_000_000 * (1 + u64::from(sender)) - late - BEGUN;
            let stream_time = Timestamp(true_time).moved(wrong);
            self.clock.at(stream_time, self.senders.entry(sender).or_default(), uptime).0
        }
    }

    #[test]
    fn the_time_of_the_stream_is_taken_while_it_does_not_leap() {
        let mut cluster = Cluster::default();
        for (sender, after, late) in [(0, 0, 0), (1, 5, 3), (0, 70_000, 20_000), (1, 9_000_000, 59_000)] {
            assert_eq!(cluster.message(sender, BEGUN + after, 0, late), BEGUN + after);
        }
        assert_eq!(cluster.clock.away(), 0);
    }

    #[test]
    fn a_leap_of_the_stream_is_not_followed_until_the_clock_is_set() {
        for leap in [HOUR, -HOUR] {
            let mut cluster = Cluster::default();
            cluster.message(0, BEGUN, 0, 0);
            cluster.message(1, BEGUN + 1_000, 0, 0);
            assert_eq!(cluster.message(0, BEGUN + 2_000, leap, 0), BEGUN + 2_000);
            assert_eq!(cluster.message(1, BEGUN + 3_000, leap, 0), BEGUN + 3_000);
            assert_eq!(cluster.clock.away(), -leap);
            cluster.clock.set(leap);
            assert_eq!(cluster.clock.away(), 0);
            let mut wrong = |sender, after| {
                Timestamp(cluster.message(sender, BEGUN + after, leap, 0)).moved(-leap).0 - BEGUN
            };
            assert_eq!([wrong(0, 4_000), wrong(1, 5_000), wrong(2, 6_000)], [4_000, 5_000, 6_000]);
            // The first server leads again.
            let back = Timestamp(cluster.message(0, BEGUN + 7_000, 0, 0)).moved(-leap).0;
            assert_eq!((back, cluster.clock.away()), (BEGUN + 7_000, leap));
        }
    }

    #[test]
    fn a_message_that_was_late_by_minutes_holds_the_time_of_nobody() {
        let mut cluster = Cluster::default();
        cluster.message(0, BEGUN, 0, 0);
        cluster.message(1, BEGUN, 0, 0);
        cluster.message(1, BEGUN + 200_000, 0, 0);
        assert_eq!(cluster.message(0, BEGUN + 200_001, 0, 150_000), BEGUN + 200_001);
        assert_eq!(cluster.message(2, BEGUN + 200_002, 0, 0), BEGUN + 200_002, "nor that of one who is new");
        assert_eq!(cluster.message(0, BEGUN + 201_000, 0, 0), BEGUN + 201_000);
        assert_eq!(cluster.message(2, BEGUN + 201_500, 0, 0), BEGUN + 201_500);
        assert_eq!(cluster.message(1, BEGUN + 202_000, 0, 0), BEGUN + 202_000);
        assert_eq!(cluster.clock.away(), 0);
    }

    #[test]
    fn a_sender_whose_machine_slept_does_not_hold_the_time_of_the_others() {
        let mut cluster = Cluster::default();
        cluster.message(0, BEGUN, 0, 0);
        cluster.message(1, BEGUN + 7_200_000, 0, 0);
        let mut asleep = Some(SenderClock { uptime_millis: 0, steady: Timestamp(BEGUN), is_behind: false });
        let mut wakes = |cluster: &mut Cluster, after: u64, wrong: i64| {
            let stream_time = Timestamp(BEGUN + 7_200_000 + after).moved(wrong);
            cluster.clock.at(stream_time, &mut asleep, 1 + after).moved(-7_200_000).0 - BEGUN
        };
        assert_eq!(wakes(&mut cluster, 1, 0), 1);
        // One who comes after it, and stays when the one who was right is gone, has the time of the stream as well.
        assert_eq!(cluster.message(2, BEGUN + 7_200_002, 0, 0), BEGUN + 7_200_002);
        assert_eq!(cluster.message(1, BEGUN + 7_200_003, 0, 0), BEGUN + 7_200_003);
        assert_eq!(cluster.message(3, BEGUN + 7_201_000, 0, 0), BEGUN + 7_201_000);
        assert_eq!(cluster.message(2, BEGUN + 7_202_000, 0, 0), BEGUN + 7_202_000);
        // What it says counts again.
        assert_eq!([wakes(&mut cluster, 3_000, 0), wakes(&mut cluster, 4_000, 0)], [3_000, 4_000]);
        assert_eq!(cluster.clock.away(), 0);
        assert_eq!(wakes(&mut cluster, 5_000, HOUR), 5_000);
    }

    #[test]
    fn a_leap_that_a_new_sender_shows_first_is_followed_and_the_time_goes_on() {
        let mut cluster = Cluster::default();
        cluster.message(0, BEGUN, 0, 0);
        cluster.message(1, BEGUN + 1_000, 0, 0);
        let leapt = BEGUN + HOUR as u64;
        for (sender, after) in [(2, 2_000), (0, 3_000), (1, 4_000), (3, 5_000), (0, 6_000), (1, 7_000)] {
            assert_eq!(cluster.message(sender, BEGUN + after, HOUR, 0), leapt + after, "{sender} {after}");
        }
        assert_eq!(cluster.clock.away(), 0);
        // The next one is shown by all.
        assert_eq!(cluster.message(0, BEGUN + 8_000, 0, 0), leapt + 8_000);
    }

    #[derive(Debug, Clone)]
    struct Step {
        sender: u8,
        after: u64,
        late: u64,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (0_u8..3, 0_u64..40_000, 0..=LATE);
        let step = step.prop_map(|(sender, after, late)| Step { sender, after, late });
        prop::collection::vec(step, 3..40)
    }

    proptest! {
        #[test]
        fn a_leap_of_the_stream_changes_no_duration_by_more_than_is_tolerated(
            steps in steps(),
            leap in prop_oneof![-HOUR..=HOUR, Just(HOUR), Just(-HOUR)],
            leaps_at in any::<prop::sample::Index>(),
        ) {
            let mut cluster = Cluster::default();
            let mut now = BEGUN;
            for sender in 0..3 {
                cluster.message(sender, now, 0, 0);
            }
            let leaps_at = leaps_at.index(steps.len());
            let mut seen = vec![(now, now)];
            for (number, Step { sender, after, late }) in steps.into_iter().enumerate() {
                now += after;
                let wrong = if number >= leaps_at { leap } else { 0 };
                seen.push((now, cluster.message(sender, now, wrong, late)));
            }
            for (true_begin, begin) in &seen {
                for (true_end, end) in seen.iter().filter(|(true_end, _)| true_end >= true_begin) {
                    let (true_span, span) = (true_end - true_begin, end.saturating_sub(*begin));
                    prop_assert!(true_span.abs_diff(span) <= TOLERANCE_MILLIS + 2 * LATE, "{true_span} became {span}");
                }
            }
        }

        #[test]
        fn the_clock_never_goes_back_by_itself_and_nothing_overflows(
            messages in prop::collection::vec((0_u8..4, any::<u64>(), any::<u64>(), prop::option::of(any::<i64>())), 0..40),
        ) {
            let (mut clock, mut senders) = (LogClock::default(), HashMap::<u8, Option<SenderClock>>::new());
            let mut last = clock.last();
            for (sender, stream_time, uptime, set) in messages {
                let at = clock.at(Timestamp(stream_time), senders.entry(sender).or_default(), uptime);
                prop_assert!(at >= last && at == clock.last());
                last = at;
                if let Some(by) = set {
                    clock.set(by);
                    last = last.moved(by);
                }
            }
        }

        #[test]
        fn every_node_that_reads_the_same_messages_has_the_same_clock(
            steps in steps(),
            wrong in prop::collection::vec(-HOUR..=HOUR, 40),
            stops_at in any::<prop::sample::Index>(),
        ) {
            let stops_at = stops_at.index(steps.len());
            let (mut one, mut other) = (Cluster::default(), Cluster::default());
            let mut now = BEGUN + LATE;
            for (number, (Step { sender, after, late }, wrong)) in steps.into_iter().zip(wrong).enumerate() {
                now += after;
                if number == stops_at {
                    // It goes on with what it has stored.
                    other = Cluster { clock: other.clock, senders: other.senders.clone() };
                }
                prop_assert_eq!(one.message(sender, now, wrong, late), other.message(sender, now, wrong, late));
            }
            prop_assert_eq!(one.clock, other.clock);
        }
    }
}
