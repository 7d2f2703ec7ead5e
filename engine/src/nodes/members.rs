//! Which nodes there are, by their beats: who is the eldest, who has fallen silent, what all of them can read, and
//! whether one has decided differently. Pure: what it is told are beats, ticks and the time.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    time::Duration,
};

use domain::{Epoch, Rules};
use tokio::time::Instant;

use super::message::{Beat, Mark, Position, Versions};
use crate::{
    command_log::transport::Incarnation,
    presence::{NodeId, ReportSummary, UNHEARD},
};

/// The time between two beats of a node.
pub const BEAT: Duration = Duration::from_secs(1);
/// The number of ticks of this node without a beat of another after which that is taken to be gone: three beats are
/// missing then. They are counted by own ticks, so that nobody is gone because this node itself was held up.
const SILENT_TICKS: u32 = 4;
/// A tick that is late by this much means that this node was held up, and may have missed anything.
const HELD_UP: Duration = Duration::from_secs(3);
/// How long this node listens, after it started or was held up, before it takes itself to be the eldest.
const LISTENING: Duration = Duration::from_secs(3);
/// How long this node waits, after it was not ready for a moment, before it takes itself to be the eldest. All others were
/// not ready either if NATS was away, and have first to note in the log what is in use, so that it is not removed.
const RETURNING: Duration = Duration::from_secs(10);
/// How long this node has to be ready without an interruption until it has heard of all others, and of their users.
const SETTLING: Duration = Duration::from_secs(5);
/// The maximum number of own ticks without a beat of another node until it is not certain any more that it is heard: one
/// beat may be late.
const HEARD_TICKS: u32 = 2;
/// For how long all nodes must have beaten before it is taken as known what all of them can read.
const KNOWING: Duration = Duration::from_secs(10);
/// The maximum number of other nodes. Further ones are ignored.
pub const NODES_LIMIT: usize = 64;
/// The number of nodes that stopped in order and are remembered, so that a beat that is late does not bring them back.
const DEPARTED_LIMIT: usize = 64;
/// The number of marks that are remembered of each node. Nodes under load are seldom at the same mark.
const MARKS_LIMIT: usize = 4;

/// Something that happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEvent {
    /// A node has beaten for the first time, or again after it was gone.
    Met {
        /// The node.
        incarnation: Incarnation,
        /// The number it has here until it is gone.
        node: NodeId,
    },
    /// A node has stopped, or fallen silent.
    Gone {
        /// The node.
        incarnation: Incarnation,
        /// The number it had here.
        node: NodeId,
    },
    /// This node was held up, as by SIGSTOP: it may have missed anything, and the others may have forgotten it.
    HeldUp,
}

/// What follows for this node from the beats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The number of nodes, this one included.
    pub members: usize,
    /// Whether another, older node has the name of this one, which must not be ready then.
    pub has_older_namesake: bool,
    /// A place in the stream at which this node differs from what most nodes have decided: it must not be ready, and has
    /// to load a snapshot. `None` if it does not.
    pub differs_at: Option<u64>,
    /// The newest format that all nodes read.
    pub format: u8,
    /// The newest rules by which all nodes can decide. `None` until all have beaten for ten seconds.
    pub rules: Option<Rules>,
}

impl Standing {
    /// Returns the rules that can come into force, since all nodes know them. `None` if those in force are as new.
    pub fn rules_due(&self, in_force: Rules) -> Option<Rules> {
        self.rules.filter(|known| *known > in_force)
    }
}

/// The nodes of a cluster, as one of them sees them.
pub struct Members {
    me: Incarnation,
    name: String,
    versions: Versions,
    /// The place at which this node was ready for the first time.
    born: Option<u64>,
    position: Option<Position>,
    marks: Marks,
    beats: u64,
    others: HashMap<Incarnation, Member>,
    /// Nodes that have stopped in order, the oldest first.
    departed: VecDeque<Incarnation>,
    /// Nodes that fell silent and were not met again, and when that was: less than [`UNHEARD`] ago.
    silent: HashMap<Incarnation, Instant>,
    begun_at: Instant,
    ticked_at: Instant,
    /// Since when this node has been ready without an interruption. `None` if it is not.
    ready_since: Option<Instant>,
    /// When this node will have listened for long enough.
    listened_at: Instant,
}

struct Member {
    node: NodeId,
    beat: Beat,
    marks: Marks,
    first_heard_at: Instant,
    /// The number of own ticks since its last beat.
    silent_ticks: u32,
}

/// The newest marks of a node, in the order of their places.
#[derive(Default)]
struct Marks(VecDeque<(Epoch, Mark)>);

impl Marks {
    /// Takes in the newest mark. A node that goes back, or that has another digest at the same place, has loaded a
    /// snapshot: what it decided before does not count any more.
    fn note(&mut self, epoch: Epoch, mark: Mark) {
        let is_same = |(known, _): &(Epoch, Mark)| *known == epoch;
        match self.0.back() {
            Some((known, newest)) if *known == epoch && *newest == mark => return,
            Some(newest) if is_same(newest) && newest.1.place < mark.place => {}
            _ => self.0.clear(),
        }
        if self.0.len() == MARKS_LIMIT {
            self.0.pop_front();
        }
        self.0.push_back((epoch, mark));
    }

    fn at(&self, epoch: Epoch, place: u64) -> Option<u32> {
        let at = self.0.iter().find(|(known, mark)| *known == epoch && mark.place == place);
        at.map(|(_, mark)| mark.digest)
    }
}

/// The age of a node: a smaller one is older. Nodes that never were ready are the youngest.
type Age = (u64, Incarnation);

fn age(born: Option<u64>, incarnation: Incarnation) -> Age {
    (born.unwrap_or(u64::MAX), incarnation)
}

impl Member {
    fn age(&self) -> Age {
        age(self.beat.born, self.beat.from)
    }
}

impl Members {
    /// Creates the view of a node that has heard no other yet.
    pub fn new(me: Incarnation, name: String, versions: Versions, now: Instant) -> Self {
        Self {
            me,
            name,
            versions,
            born: None,
            position: None,
            marks: Marks::default(),
            beats: 0,
            others: HashMap::new(),
            departed: VecDeque::new(),
            silent: HashMap::new(),
            begun_at: now,
            ticked_at: now,
            ready_since: None,
            listened_at: now + LISTENING,
        }
    }

    /// Takes in a beat. Late and repeated ones have no effect.
    pub fn heard(&mut self, beat: Beat, now: Instant) -> Option<MemberEvent> {
        let incarnation = beat.from;
        if incarnation == self.me || self.departed.contains(&incarnation) {
            return None;
        }
        if beat.is_last {
            if self.departed.len() == DEPARTED_LIMIT {
                self.departed.pop_front();
            }
            self.departed.push_back(incarnation);
            self.silent.remove(&incarnation);
            let Member { node, .. } = self.others.remove(&incarnation)?;
            return Some(MemberEvent::Gone { incarnation, node });
        }
        let free = self.free();
        match self.others.entry(incarnation) {
            Entry::Occupied(mut known) => {
                let member = known.get_mut();
                if beat.number > member.beat.number {
                    member.silent_ticks = 0;
                    member.marks.note(beat.position.epoch, beat.position.mark);
                    member.beat = beat;
                }
                None
            }
            Entry::Vacant(unknown) => {
                let node = free?;
                let mut marks = Marks::default();
                marks.note(beat.position.epoch, beat.position.mark);
                self.silent.remove(&incarnation);
                unknown.insert(Member { node, beat, marks, first_heard_at: now, silent_ticks: 0 });
                Some(MemberEvent::Met { incarnation, node })
            }
        }
    }

    /// Returns a number that no other node has. `None` if there are too many nodes.
    fn free(&self) -> Option<NodeId> {
        if self.others.len() >= NODES_LIMIT {
            return None;
        }
        let used: HashSet<NodeId> = self.others.values().map(|member| member.node).collect();
        (NodeId::ALONE.0 + 1..=u16::MAX).map(NodeId).find(|node| !used.contains(node))
    }

    /// Counts a beat of this node, which is due once in [`BEAT`]. All beats of others that have come before must have been
    /// taken in.
    pub fn tick(&mut self, position: Position, now: Instant) -> Vec<MemberEvent> {
        let was_ready = self.position.is_some_and(|before| before.is_ready);
        if position.is_ready && !was_ready && self.born.is_some() {
            self.listened_at = self.listened_at.max(now + RETURNING);
        }
        if position.is_ready {
            self.born = self.born.or(Some(position.place));
        }
        self.position = Some(position);
        self.marks.note(position.epoch, position.mark);
        let was_held_up = now.saturating_duration_since(self.ticked_at) >= BEAT + HELD_UP;
        self.ticked_at = now;
        let ready_since = self.ready_since.filter(|_| !was_held_up).unwrap_or(now);
        self.ready_since = position.is_ready.then_some(ready_since);
        self.silent.retain(|_, since| now.saturating_duration_since(*since) < UNHEARD);
        let mut events = Vec::new();
        if was_held_up {
            self.listened_at = self.listened_at.max(now + LISTENING);
            self.others.values_mut().for_each(|member| member.silent_ticks = 0);
            events.push(MemberEvent::HeldUp);
            return events;
        }
        self.others.retain(|incarnation, Member { node, silent_ticks, .. }| {
            *silent_ticks += 1;
            let is_gone = *silent_ticks >= SILENT_TICKS;
            if is_gone {
                events.push(MemberEvent::Gone { incarnation: *incarnation, node: *node });
                if self.silent.len() < NODES_LIMIT {
                    self.silent.insert(*incarnation, now);
                }
            }
            !is_gone
        });
        events
    }

    /// Notes that messages of others may have been missed until now.
    pub fn missed(&mut self, now: Instant) {
        self.ready_since = self.ready_since.map(|_| now);
    }

    /// Returns whether this node hears all others: it has been ready for some seconds, hears the beats of all that it knows,
    /// and none has fallen silent within [`UNHEARD`].
    pub fn is_in_touch(&self, now: Instant) -> bool {
        self.ready_since.is_some_and(|since| now.saturating_duration_since(since) >= SETTLING)
            && self.others.values().all(|member| member.silent_ticks <= HEARD_TICKS)
            && self.silent.is_empty()
    }

    /// Returns the next beat of this node. `None` before the first tick.
    pub fn beat(&mut self, summary: ReportSummary, is_last: bool) -> Option<Beat> {
        let position = self.position?;
        self.beats += 1;
        let ReportSummary { told, digest } = summary;
        Some(Beat {
            from: self.me,
            number: self.beats,
            is_last,
            name: self.name.clone(),
            qchat: env!("CARGO_PKG_VERSION").to_owned(),
            born: self.born,
            position,
            versions: self.versions,
            told,
            digest,
        })
    }

    /// Returns the number that another node has here. `None` if it is not known, or gone.
    pub fn node(&self, incarnation: Incarnation) -> Option<NodeId> {
        self.others.get(&incarnation).map(|member| member.node)
    }

    /// Returns the newest beat of each other node.
    pub fn others(&self) -> impl Iterator<Item = &Beat> {
        self.others.values().map(|member| &member.beat)
    }

    /// Returns whether this node does what one does for all: it is ready, and older than all others that are. Two nodes
    /// may both be for a beat or two, or none.
    pub fn is_eldest(&self, now: Instant) -> bool {
        let mine = age(self.born, self.me);
        let mut ready = self.others.values().filter(|member| member.beat.position.is_ready);
        self.position.is_some_and(|position| position.is_ready)
            && now >= self.listened_at
            && ready.all(|member| mine < member.age())
    }

    /// Returns what follows from the beats for this node.
    pub fn standing(&self, now: Instant) -> Standing {
        let formats = self.others.values().map(|member| member.beat.versions.formats.1);
        Standing {
            members: self.others.len() + 1,
            has_older_namesake: self.older_namesake().is_some(),
            differs_at: self.differs_at(),
            format: formats.fold(self.versions.formats.1, u8::min),
            rules: self.known_rules(now),
        }
    }

    /// Returns the newest beat of an older node with the name of this one. `None` if there is none.
    pub fn older_namesake(&self) -> Option<&Beat> {
        let mine = age(self.born, self.me);
        let same = |member: &&Member| member.beat.name == self.name && member.age() < mine;
        self.others.values().find(same).map(|member| &member.beat)
    }

    fn known_rules(&self, now: Instant) -> Option<Rules> {
        let is_known = |since: Instant| now.saturating_duration_since(since) >= KNOWING;
        let all =
            is_known(self.begun_at) && self.others.values().all(|member| is_known(member.first_heard_at));
        let rules = self.others.values().map(|member| member.beat.versions.rules.1);
        all.then(|| rules.fold(self.versions.rules.1, Rules::min))
    }

    /// Returns the newest place that this node and another have marked, if most nodes have decided differently up to it.
    /// Of two halves, that with the oldest node counts.
    fn differs_at(&self) -> Option<u64> {
        let compared = |(epoch, mark): &(Epoch, Mark)| {
            let others = self.others.values();
            let at = others.filter_map(|member| Some((member.marks.at(*epoch, mark.place)?, member.age())));
            let at: Vec<_> = at.collect();
            (!at.is_empty()).then_some((*mark, at))
        };
        let (mark, mut marked) = self.marks.0.iter().rev().find_map(compared)?;
        marked.push((mark.digest, age(self.born, self.me)));
        // For each digest, how many nodes have it, and the oldest of them.
        let mut parties: HashMap<u32, (usize, Age)> = HashMap::new();
        for (digest, age) in marked {
            let (count, oldest) = parties.entry(digest).or_insert((0, age));
            *count += 1;
            *oldest = age.min(*oldest);
        }
        let weight = |(count, oldest): &(usize, Age)| (*count, std::cmp::Reverse(*oldest));
        let right = parties.iter().max_by_key(|(_, party)| weight(party)).map(|(digest, _)| *digest);
        (right != Some(mark.digest)).then_some(mark.place)
    }
}

#[cfg(test)]
mod tests {
    use domain::{Seq, id::ID_BYTES};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const EPOCH: Epoch = Epoch::from_bytes([9; ID_BYTES]);
    const VERSIONS: Versions = Versions { formats: (1, 3), rules: (Rules(1), Rules(2)) };

    fn incarnation(number: u8) -> Incarnation {
        Incarnation::from_bytes([number; ID_BYTES])
    }

    fn position(place: u64) -> Position {
        let mark = Mark { place: 0, digest: 0 };
        Position { epoch: EPOCH, is_ready: true, place, seq: Seq(place), mark }
    }

    fn members(number: u8, now: Instant) -> Members {
        Members::new(incarnation(number), format!("node {number}"), VERSIONS, now)
    }

    fn beat(number: u8, count: u64, born: u64) -> Beat {
        Beat {
            from: incarnation(number),
            number: count,
            is_last: false,
            name: format!("node {number}"),
            qchat: "0.1.0".to_owned(),
            born: Some(born),
            position: position(100),
            versions: VERSIONS,
            told: 0,
            digest: 0,
        }
    }

    fn after(begun: Instant, seconds: u32) -> Instant {
        begun + BEAT * seconds
    }

    #[test]
    fn a_node_that_misses_three_beats_is_gone_and_met_anew_when_it_beats_again() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        let (other, node) = (incarnation(2), NodeId(1));
        let met = Some(MemberEvent::Met { incarnation: other, node });
        assert_eq!(members.heard(beat(2, 1, 5), begun), met);
        for second in 1..=3 {
            assert_eq!(members.tick(position(7), after(begun, second)), [], "{second}");
        }
        assert_eq!(members.heard(beat(2, 2, 5), after(begun, 3)), None);
        for second in 4..=6 {
            assert_eq!(members.tick(position(7), after(begun, second)), [], "{second}");
        }
        let gone = MemberEvent::Gone { incarnation: other, node };
        assert_eq!(members.tick(position(7), after(begun, 7)), [gone]);
        assert_eq!((members.node(other), members.standing(after(begun, 7)).members), (None, 1));
        assert_eq!(members.heard(beat(2, 3, 5), after(begun, 8)), met);
    }

    #[test]
    fn a_node_that_stops_in_order_is_gone_at_once_and_late_beats_do_not_bring_it_back() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        members.heard(beat(2, 1, 5), begun);
        let last = Beat { is_last: true, ..beat(2, 2, 5) };
        let gone = Some(MemberEvent::Gone { incarnation: incarnation(2), node: NodeId(1) });
        assert_eq!(members.heard(last.clone(), begun), gone);
        assert_eq!(members.heard(last, begun), None);
        assert_eq!(members.heard(beat(2, 1, 5), begun), None);
        assert_eq!(members.others().count(), 0);
    }

    #[test]
    fn a_node_that_was_held_up_says_so_and_takes_nobody_for_gone() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        members.heard(beat(2, 1, 5), begun);
        assert_eq!(members.tick(position(7), after(begun, 1)), []);
        assert_eq!(members.tick(position(7), after(begun, 60)), [MemberEvent::HeldUp]);
        assert!(!members.is_eldest(after(begun, 60)), "it does not know yet who there is");
        for second in 61..=63 {
            assert_eq!(members.tick(position(7), after(begun, second)), [], "{second}");
        }
        assert!(matches!(*members.tick(position(7), after(begun, 64)), [MemberEvent::Gone { .. }]));
        assert!(members.is_eldest(after(begun, 64)));
    }

    #[test]
    fn a_node_is_in_touch_when_it_has_heard_all_others_for_a_while_and_none_has_fallen_silent() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        let mut second = 0;
        let mut beats = 0;
        // Whether it is in touch after each of some seconds, in which the other one beats or not.
        let mut pass = |members: &mut Members, is_ready: bool, is_heard: bool, seconds: u32| {
            let mut are_in_touch = Vec::new();
            for _ in 0..seconds {
                second += 1;
                let now = after(begun, second);
                if is_heard {
                    beats += 1;
                    members.heard(beat(2, beats, 5), now);
                }
                members.tick(Position { is_ready, ..position(7) }, now);
                are_in_touch.push(members.is_in_touch(now));
            }
            (are_in_touch, after(begun, second))
        };
        let (settling, _) = pass(&mut members, true, true, 7);
        assert_eq!(settling, [false, false, false, false, false, true, true]);
        assert_eq!(
            pass(&mut members, true, false, 2).0,
            [true, false],
            "before anybody could be taken for gone"
        );
        assert_eq!(pass(&mut members, true, true, 1).0, [true], "a beat was late");
        assert_eq!(pass(&mut members, false, true, 1).0, [false]);
        assert_eq!(pass(&mut members, true, true, 6).0, [false, false, false, false, false, true]);
        let (_, now) = pass(&mut members, true, true, 1);
        members.missed(now);
        assert_eq!(pass(&mut members, true, true, 5).0, [false, false, false, false, true]);
        // It is taken for gone with the third of these, and for dead a minute later.
        let (silent, _) = pass(&mut members, true, false, 70);
        let expected = (0..70).map(|second| second == 0 || second >= 62).collect::<Vec<_>>();
        assert_eq!(silent, expected);
    }

    #[test]
    fn late_and_own_beats_have_no_effect() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        assert_eq!(members.heard(beat(1, 1, 5), begun), None);
        members.heard(beat(2, 9, 5), begun);
        for second in 1..=3 {
            members.tick(position(7), after(begun, second));
            members.heard(beat(2, 8, 5), after(begun, second));
        }
        assert!(matches!(*members.tick(position(7), after(begun, 4)), [MemberEvent::Gone { .. }]));
    }

    #[test]
    fn there_is_a_bound_on_the_nodes_and_their_numbers_are_used_again() {
        let begun = Instant::now();
        let mut members = members(200, begun);
        for number in 1..=NODES_LIMIT as u8 {
            let met = MemberEvent::Met { incarnation: incarnation(number), node: NodeId(number.into()) };
            assert_eq!(members.heard(beat(number, 1, 5), begun), Some(met));
        }
        assert_eq!(members.heard(beat(100, 1, 5), begun), None);
        members.heard(Beat { is_last: true, ..beat(7, 2, 5) }, begun);
        let met = MemberEvent::Met { incarnation: incarnation(100), node: NodeId(7) };
        assert_eq!(members.heard(beat(100, 1, 5), begun), Some(met));
    }

    #[test]
    fn the_eldest_that_is_ready_is_on_duty() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        let mut unready = beat(2, 1, 3);
        unready.position.is_ready = false;
        members.heard(unready.clone(), begun);
        members.tick(position(7), after(begun, 1));
        assert!(!members.is_eldest(after(begun, 1)), "it has not listened for long enough");
        members.heard(Beat { number: 2, ..unready }, after(begun, 1));
        assert!(members.is_eldest(after(begun, 3)), "the older one is not ready");
        members.heard(beat(2, 3, 3), after(begun, 3));
        assert!(!members.is_eldest(after(begun, 3)));
        members.heard(Beat { is_last: true, ..beat(2, 4, 3) }, after(begun, 4));
        assert!(members.is_eldest(after(begun, 4)));
        members.tick(Position { is_ready: false, ..position(9) }, after(begun, 5));
        assert!(!members.is_eldest(after(begun, 5)), "it is not ready itself");
        assert_eq!(members.beat(ReportSummary::default(), false).unwrap().born, Some(7), "the age stays");
    }

    #[test]
    fn of_two_nodes_of_one_name_the_younger_knows_it() {
        let begun = Instant::now();
        let [mut older, mut younger] = [1, 2].map(|number| members(number, begun));
        younger.name = older.name.clone();
        let meet = |older: &mut Members, younger: &mut Members| {
            older.heard(younger.beat(ReportSummary::default(), false).unwrap(), begun);
            younger.heard(older.beat(ReportSummary::default(), false).unwrap(), begun);
            [older, younger].map(|members| members.standing(begun).has_older_namesake)
        };
        older.tick(position(5), begun);
        younger.tick(Position { is_ready: false, ..position(9) }, begun);
        assert_eq!(meet(&mut older, &mut younger), [false, true]);
        // Who was ready once is older, even while it is not.
        older.tick(Position { is_ready: false, ..position(9) }, begun);
        assert_eq!(meet(&mut older, &mut younger), [false, true]);
        younger.name = "another".to_owned();
        assert_eq!(meet(&mut older, &mut younger), [false, false]);
    }

    #[test]
    fn what_all_can_read_is_what_the_oldest_program_can_after_ten_seconds() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        let older = Versions { formats: (1, 2), rules: (Rules(1), Rules(1)) };
        let old = |count| Beat { versions: older, ..beat(2, count, 5) };
        assert_eq!(members.standing(begun).format, 3);
        members.heard(old(1), after(begun, 5));
        assert_eq!(members.standing(after(begun, 5)).format, 2, "nothing is written that it cannot read");
        assert_eq!(members.standing(after(begun, 14)).rules, None);
        assert_eq!(members.standing(after(begun, 15)).rules, Some(Rules(1)));
        members.heard(Beat { is_last: true, ..old(2) }, after(begun, 16));
        assert!(members.standing(after(begun, 16)).rules >= Some(Rules(2)));
        members.heard(beat(3, 1, 9), after(begun, 17));
        assert_eq!(members.standing(after(begun, 18)).rules, None, "one has just come");
    }

    #[test]
    fn a_node_that_was_not_ready_has_no_duty_until_the_others_have_come_back_as_well() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        members.tick(position(7), after(begun, 1));
        members.tick(position(7), after(begun, 3));
        assert!(members.is_eldest(after(begun, 3)));
        members.tick(Position { is_ready: false, ..position(7) }, after(begun, 4));
        assert!(!members.is_eldest(after(begun, 4)));
        for second in 5..15 {
            members.tick(position(8), after(begun, second));
            assert!(!members.is_eldest(after(begun, second)), "{second}");
        }
        assert!(members.is_eldest(after(begun, 15)));
    }

    #[test]
    fn newer_rules_are_due_when_the_last_node_that_does_not_know_them_is_gone() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        let older = Versions { formats: (1, 1), rules: (Rules(1), Rules(1)) };
        let old = |count| Beat { versions: older, ..beat(2, count, 5) };
        let due =
            |members: &Members, second, in_force| members.standing(after(begun, second)).rules_due(in_force);
        members.heard(old(1), begun);
        for second in 1..60 {
            members.tick(position(7), after(begun, second));
            members.heard(old(u64::from(second) + 1), after(begun, second));
            assert_eq!(due(&members, second, Rules(1)), None, "{second}");
        }
        members.heard(Beat { is_last: true, ..old(61) }, after(begun, 60));
        assert_eq!(due(&members, 60, Rules(1)), Some(Rules(2)));
        assert_eq!(due(&members, 60, Rules(2)), None, "they are in force");
    }

    fn marked(place: u64, digest: u32) -> Position {
        Position { mark: Mark { place, digest }, ..position(place) }
    }

    #[test]
    fn the_node_that_differs_from_most_knows_it_until_it_has_loaded_a_snapshot() {
        let begun = Instant::now();
        let mut members = members(1, begun);
        let differs_at = |members: &Members| members.standing(begun).differs_at;
        let says = |members: &mut Members, number, count, place, digest| {
            let beat = Beat { position: marked(place, digest), ..beat(number, count, 5_000) };
            members.heard(beat, begun);
        };
        members.tick(marked(1_024, 7), begun);
        assert_eq!(differs_at(&members), None, "there is nobody else");
        says(&mut members, 2, 1, 2_048, 99);
        assert_eq!(differs_at(&members), None, "they are at different places");
        says(&mut members, 3, 1, 1_024, 7);
        assert_eq!(differs_at(&members), None);
        members.tick(marked(2_048, 8), begun);
        assert_eq!(differs_at(&members), None, "it is older than the one that differs");
        says(&mut members, 3, 2, 2_048, 99);
        assert_eq!(differs_at(&members), Some(2_048), "it is alone with its digest");
        members.tick(marked(1_024, 6), begun);
        assert_eq!(differs_at(&members), None, "it has loaded a snapshot, and is to be asked anew");
        members.tick(marked(2_048, 99), begun);
        assert_eq!(differs_at(&members), None);
    }

    proptest! {
        /// However nodes are divided, those with one digest are right and all the others know that they are not.
        #[test]
        fn all_nodes_agree_on_who_differs(digests in vec(0_u32..3, 2..6)) {
            let begun = Instant::now();
            let mut nodes: Vec<_> = (0..digests.len()).map(|number| members(number as u8, begun)).collect();
            for (number, digest) in digests.iter().enumerate() {
                // They become ready one after the other.
                nodes[number].tick(position(number as u64), begun);
                nodes[number].tick(marked(1_024, *digest), begun);
            }
            let beats: Vec<_> = nodes
                .iter_mut()
                .map(|node| node.beat(ReportSummary::default(), false).unwrap())
                .collect();
            for node in &mut nodes {
                beats.iter().for_each(|beat| { node.heard(beat.clone(), begun); });
            }
            let right: HashSet<u32> = nodes
                .iter()
                .zip(&digests)
                .filter(|(node, _)| node.standing(begun).differs_at.is_none())
                .map(|(_, digest)| *digest)
                .collect();
            prop_assert_eq!(right.len(), 1);
            for (node, digest) in nodes.iter().zip(&digests) {
                prop_assert_eq!(node.standing(begun).differs_at.is_none(), right.contains(digest));
            }
            prop_assert_eq!(nodes.iter().filter(|node| node.is_eldest(begun + LISTENING)).count(), 1);
        }
    }
}
