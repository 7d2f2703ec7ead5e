//! What this node tells the others of its connections, and when: changes at once, and the whole when a node asks for it,
//! when changes were dropped, and once a minute unasked. Pure: it is told the time.

use std::time::Duration;

use tokio::time::Instant;

use super::message::{Changes, Message, PARTS_LIMIT, Part, REPORTS_OF_A_MESSAGE};
use crate::{command_log::transport::Incarnation, presence::Report};

/// The minimum time between two wholes of a node, however many ask.
const WHOLE_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time until the first of those who ask is answered, so that one answer is for all who ask at once, and the
/// nodes do not answer all at the same time.
const ANSWER_DELAY: Duration = Duration::from_millis(200);
/// The shortest and the longest time until the whole is told unasked, which mends whatever went wrong unnoticed.
const UNASKED: (Duration, Duration) = (Duration::from_secs(50), Duration::from_secs(70));

/// When a node tells its whole.
pub struct Teller {
    me: Incarnation,
    /// The number of the newest whole that was told.
    wholes: u64,
    told_at: Option<Instant>,
    /// When the whole is due, asked or not.
    due_at: Instant,
    /// The state of the pseudorandom delays.
    random: u64,
}

impl Teller {
    /// Creates the teller of a node.
    pub fn new(me: Incarnation, now: Instant) -> Self {
        let random =
            me.as_bytes().iter().fold(0, |random: u64, byte| random.rotate_left(8) ^ u64::from(*byte));
        let mut teller = Self { me, wholes: 0, told_at: None, due_at: now, random };
        teller.due_at = now + teller.between(UNASKED.0, UNASKED.1);
        teller
    }

    /// Returns the messages for changes, numbered from `first`.
    pub fn changes(&self, first: u64, reports: &[Report]) -> Vec<Message> {
        let numbers = (first..).step_by(REPORTS_OF_A_MESSAGE);
        let parts = reports.chunks(REPORTS_OF_A_MESSAGE).zip(numbers);
        let message = |(reports, first): (&[Report], u64)| {
            Message::Changes(Changes { from: self.me, first, reports: reports.to_vec() })
        };
        parts.map(message).collect()
    }

    /// Notes that a node asks for the whole, or that it has to be told for another reason.
    pub fn ask(&mut self, now: Instant) {
        let earliest = self.told_at.map_or(now, |told_at| now.max(told_at + WHOLE_INTERVAL));
        let delay = self.between(Duration::ZERO, ANSWER_DELAY);
        self.due_at = self.due_at.min(earliest + delay);
    }

    /// Returns when the whole is due.
    pub const fn due_at(&self) -> Instant {
        self.due_at
    }

    /// Returns the messages for the whole, if it is due. It is made only then, with the number of the newest change that
    /// is part of it.
    pub fn whole(&mut self, now: Instant, make: impl FnOnce() -> (u64, Vec<Report>)) -> Vec<Message> {
        if now < self.due_at {
            return Vec::new();
        }
        let (upto, reports) = make();
        self.wholes += 1;
        self.told_at = Some(now);
        self.due_at = now + self.between(UNASKED.0, UNASKED.1);
        // An empty whole has one part, too.
        let count = reports.len().div_ceil(REPORTS_OF_A_MESSAGE).clamp(1, PARTS_LIMIT.into());
        let parts = u16::try_from(count).unwrap_or(PARTS_LIMIT);
        let mut chunks = reports.chunks(REPORTS_OF_A_MESSAGE);
        let part = |part| {
            let reports = chunks.next().unwrap_or_default().to_vec();
            Message::Part(Part { from: self.me, whole: self.wholes, upto, part, parts, reports })
        };
        (0..parts).map(part).collect()
    }

    /// Returns a time between two, which differs between nodes and from time to time.
    fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        // SplitMix64: delays need no more randomness than that.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let range = u64::try_from((longest - shortest).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        shortest + Duration::from_millis((mixed ^ (mixed >> 31)) % range)
    }
}

#[cfg(test)]
mod tests {
    use domain::{UserId, id::ID_BYTES};

    use super::*;

    const ME: Incarnation = Incarnation::from_bytes([1; ID_BYTES]);

    fn opened(number: u64) -> Report {
        Report::Opened { holder: number, user: UserId::from_bytes([1; ID_BYTES]) }
    }

    fn parts(messages: &[Message]) -> Vec<(u64, u64, u16, u16, usize)> {
        let part = |message: &Message| {
            let Message::Part(part) = message else { panic!("{message:?}") };
            (part.whole, part.upto, part.part, part.parts, part.reports.len())
        };
        messages.iter().map(part).collect()
    }

    #[test]
    fn many_changes_go_in_several_messages_that_follow_each_other() {
        let teller = Teller::new(ME, Instant::now());
        assert_eq!(teller.changes(5, &[]), []);
        let reports: Vec<_> = (0..2 * REPORTS_OF_A_MESSAGE as u64 + 1).map(opened).collect();
        let messages = teller.changes(5, &reports);
        let mut next = 5;
        let mut told = Vec::new();
        for message in messages {
            let Message::Changes(changes) = message else { panic!("{message:?}") };
            assert_eq!(changes.first, next);
            next += changes.reports.len() as u64;
            told.extend(changes.reports);
        }
        assert_eq!(told, reports);
    }

    #[test]
    fn the_whole_is_told_unasked_once_a_minute_and_not_by_all_nodes_at_the_same_time() {
        let begun = Instant::now();
        let due: Vec<_> = (1..=20)
            .map(|number| {
                let mut teller = Teller::new(Incarnation::from_bytes([number; ID_BYTES]), begun);
                let first = teller.due_at();
                assert_eq!(teller.whole(first - Duration::from_millis(1), || unreachable!()), []);
                assert_eq!(parts(&teller.whole(first, || (9, Vec::new()))), [(1, 9, 0, 1, 0)]);
                let second = teller.due_at();
                for wait in [first - begun, second - first] {
                    assert!((UNASKED.0..=UNASKED.1).contains(&wait), "{wait:?}");
                }
                first
            })
            .collect();
        let different: std::collections::HashSet<_> = due.iter().collect();
        assert!(different.len() > 15, "{}", different.len());
    }

    #[test]
    fn who_asks_is_answered_soon_and_all_who_ask_at_once_are_answered_once() {
        let now = Instant::now();
        let mut teller = Teller::new(ME, now);
        for _ in 0..50 {
            teller.ask(now);
        }
        let due = teller.due_at();
        assert!(due <= now + ANSWER_DELAY);
        let reports: Vec<_> = (0..REPORTS_OF_A_MESSAGE as u64 + 1).map(opened).collect();
        let whole = teller.whole(due, || (7, reports));
        assert_eq!(parts(&whole), [(1, 7, 0, 2, REPORTS_OF_A_MESSAGE), (1, 7, 1, 2, 1)]);
        assert_eq!(teller.whole(due, || unreachable!()), []);
        teller.ask(due);
        assert!(teller.due_at() >= due + WHOLE_INTERVAL, "not more than one a second");
        assert!(teller.due_at() <= due + WHOLE_INTERVAL + ANSWER_DELAY);
    }
}
