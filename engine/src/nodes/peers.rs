//! What other nodes tell of their connections: changes by number, and the whole when changes are missing. Pure: it is told
//! what comes, and says what to apply and whom to ask.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::message::{Changes, Part};
use crate::{
    command_log::transport::Incarnation,
    presence::{NodeId, Report, ReportSummary},
};

/// The maximum number of changes of a node that wait for others before them. Beyond it they are dropped, and asked for
/// again.
pub const WAITING_LIMIT: usize = 65_536;
/// The time after which a node is asked again for its whole, if it has not come. It doubles each time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The maximum time after which a node is asked again.
const ASK_AGAIN_LIMIT: Duration = Duration::from_secs(8);

/// What to do about what has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Apply changes of a node, in their order.
    Apply {
        /// The node.
        node: NodeId,
        /// The changes.
        reports: Vec<Report>,
    },
    /// Replace all that is known of a node.
    Replace {
        /// The node.
        node: NodeId,
        /// All of its connections, in any order.
        whole: Vec<Report>,
    },
    /// Ask a node for its whole.
    Ask(Incarnation),
}

/// What has come of the other nodes.
#[derive(Default)]
pub struct Peers {
    peers: HashMap<Incarnation, Peer>,
}

struct Peer {
    node: NodeId,
    /// The number of the newest change that was applied. `None` before the first whole.
    applied: Option<u64>,
    /// Changes that came before others that are missing, or before the first whole.
    waiting: BTreeMap<u64, Report>,
    assembly: Option<Assembly>,
    /// The number of the newest whole that was complete.
    whole: u64,
    /// The newest change that the node had told by its beat before.
    told_before: u64,
    /// Whether the whole is wanted.
    is_wanted: bool,
    /// When to ask for it next, at the earliest.
    ask_at: Instant,
    ask_again: Duration,
}

/// The parts of a whole that have come.
struct Assembly {
    whole: u64,
    upto: u64,
    parts: Vec<Option<Vec<Report>>>,
}

impl Peers {
    /// Takes in a node that was met, whose whole is asked for.
    pub fn met(&mut self, incarnation: Incarnation, node: NodeId, now: Instant) -> Option<Step> {
        let peer = self.peers.entry(incarnation).insert_entry(Peer::new(node, now)).into_mut();
        peer.want(now).then_some(Step::Ask(incarnation))
    }

    /// Forgets a node that is gone.
    pub fn gone(&mut self, incarnation: Incarnation) {
        self.peers.remove(&incarnation);
    }

    /// Asks all nodes for their wholes, since anything may have been missed.
    pub fn missed(&mut self, now: Instant) -> Vec<Step> {
        let ask = |(incarnation, peer): (&Incarnation, &mut Peer)| {
            (peer.ask_at, peer.ask_again) = (now, ASK_AGAIN);
            peer.want(now).then_some(Step::Ask(*incarnation))
        };
        self.peers.iter_mut().filter_map(ask).collect()
    }

    /// Takes in changes of a node. Those of nodes that have not beaten yet are ignored: they are part of the whole that is
    /// asked for when they do.
    pub fn changes(&mut self, changes: Changes, now: Instant) -> Vec<Step> {
        let Changes { from, first, reports } = changes;
        let Some(peer) = self.peers.get_mut(&from) else { return Vec::new() };
        let is_next = peer.waiting.is_empty() && peer.applied.is_some_and(|applied| first == applied + 1);
        let mut steps = Vec::new();
        if is_next {
            peer.applied = peer.applied.map(|applied| applied + reports.len() as u64);
            steps.extend(peer.apply(reports));
            return steps;
        }
        let applied = peer.applied.unwrap_or_default();
        for (number, report) in (first..).zip(reports).filter(|(number, _)| *number > applied) {
            if peer.waiting.len() >= WAITING_LIMIT {
                peer.waiting.clear();
            }
            peer.waiting.insert(number, report);
        }
        steps.extend(peer.advance());
        if !peer.waiting.is_empty() && peer.want(now) {
            steps.push(Step::Ask(from));
        }
        steps
    }

    /// Takes in a part of a whole.
    pub fn part(&mut self, part: Part) -> Vec<Step> {
        let Part { from, whole, upto, part, parts, reports } = part;
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| whole > peer.whole) else {
            return Vec::new();
        };
        if peer.assembly.as_ref().is_none_or(|assembly| assembly.whole < whole) {
            peer.assembly = Some(Assembly { whole, upto, parts: vec![None; parts.into()] });
        }
        let Some(assembly) = peer.assembly.as_mut().filter(|assembly| assembly.whole == whole) else {
            return Vec::new();
        };
        if let Some(place @ None) = assembly.parts.get_mut(usize::from(part)) {
            *place = Some(reports);
        }
        if assembly.parts.iter().any(Option::is_none) {
            return Vec::new();
        }
        let Some(Assembly { upto, parts, .. }) = peer.assembly.take() else { return Vec::new() };
        peer.whole = whole;
        if peer.applied.is_some_and(|applied| upto < applied) {
            // It was overtaken by changes, and must not take them back.
            return Vec::new();
        }
        peer.applied = Some(upto);
        peer.waiting = peer.waiting.split_off(&(upto + 1));
        let whole = parts.into_iter().flatten().flatten().collect();
        let mut steps = vec![Step::Replace { node: peer.node, whole }];
        steps.extend(peer.advance());
        peer.is_wanted = !peer.waiting.is_empty();
        steps
    }

    /// Compares what a node has told by its beat with what was applied here, whose digest is `digest`.
    pub fn compare(
        &mut self,
        from: Incarnation,
        told: ReportSummary,
        digest: u64,
        now: Instant,
    ) -> Option<Step> {
        let peer = self.peers.get_mut(&from)?;
        let told_before = peer.told_before;
        // A beat may come after a later one.
        peer.told_before = told_before.max(told.told);
        let is_missing = match peer.applied {
            None => true,
            Some(applied) if applied == told.told && digest == told.digest => {
                (peer.is_wanted, peer.ask_at, peer.ask_again) = (!peer.waiting.is_empty(), now, ASK_AGAIN);
                false
            }
            Some(applied) if applied == told.told => true,
            // Changes may overtake a beat, and may come after it, but not after the next.
            Some(applied) => applied < told_before,
        };
        (is_missing && peer.want(now)).then_some(Step::Ask(from))
    }

    /// Returns whether each of these nodes has told its whole.
    pub fn have_told(&self) -> bool {
        self.peers.values().all(|peer| peer.applied.is_some())
    }

    /// Returns whether nothing is missing of what the nodes are known to have told.
    pub fn are_complete(&self) -> bool {
        self.peers.values().all(|peer| peer.applied.is_some() && !peer.is_wanted)
    }

    /// Asks again for what was asked for and has not come.
    pub fn tick(&mut self, now: Instant) -> Vec<Step> {
        let wanted = self.peers.iter_mut().filter(|(_, peer)| peer.is_wanted);
        wanted.filter_map(|(from, peer)| peer.want(now).then_some(Step::Ask(*from))).collect()
    }
}

impl Peer {
    fn new(node: NodeId, now: Instant) -> Self {
        Self {
            node,
            applied: None,
            waiting: BTreeMap::new(),
            assembly: None,
            whole: 0,
            told_before: 0,
            is_wanted: false,
            ask_at: now,
            ask_again: ASK_AGAIN,
        }
    }

    /// Wants the whole. Returns whether it is to be asked for now.
    fn want(&mut self, now: Instant) -> bool {
        self.is_wanted = true;
        let is_due = now >= self.ask_at;
        if is_due {
            self.ask_at = now + self.ask_again;
            self.ask_again = (self.ask_again * 2).min(ASK_AGAIN_LIMIT);
        }
        is_due
    }

    fn apply(&self, reports: Vec<Report>) -> Option<Step> {
        (!reports.is_empty()).then_some(Step::Apply { node: self.node, reports })
    }

    /// Takes the changes that wait and follow on what was applied.
    fn advance(&mut self) -> Option<Step> {
        let mut applied = self.applied?;
        let mut reports = Vec::new();
        while let Some(report) = self.waiting.remove(&(applied + 1)) {
            applied += 1;
            reports.push(report);
        }
        self.applied = Some(applied);
        self.apply(reports)
    }
}

#[cfg(test)]
mod tests {
    use domain::{UserId, id::ID_BYTES};

    use super::*;

    const OTHER: Incarnation = Incarnation::from_bytes([2; ID_BYTES]);
    const NODE: NodeId = NodeId(1);

    fn opened(number: u64) -> Report {
        Report::Opened { holder: number, user: UserId::from_bytes([1; ID_BYTES]) }
    }

    fn changes(first: u64, last: u64) -> Changes {
        Changes { from: OTHER, first, reports: (first..=last).map(opened).collect() }
    }

    fn part(whole: u64, upto: u64, (part, parts): (u16, u16)) -> Part {
        Part { from: OTHER, whole, upto, part, parts, reports: vec![opened(u64::from(part))] }
    }

    fn apply(first: u64, last: u64) -> Step {
        Step::Apply { node: NODE, reports: (first..=last).map(opened).collect() }
    }

    fn replace(parts: u64) -> Step {
        Step::Replace { node: NODE, whole: (0..parts).map(opened).collect() }
    }

    fn summary(told: u64, digest: u64) -> ReportSummary {
        ReportSummary { told, digest }
    }

    /// Returns what is known after a node was met that had told 10 changes.
    fn met(now: Instant) -> Peers {
        let mut peers = Peers::default();
        assert_eq!(peers.met(OTHER, NODE, now), Some(Step::Ask(OTHER)));
        assert_eq!(peers.part(part(1, 10, (0, 1))), [replace(1)]);
        peers
    }

    #[test]
    fn changes_are_applied_once_in_their_order() {
        let now = Instant::now();
        let mut peers = met(now);
        assert_eq!(peers.changes(changes(11, 13), now), [apply(11, 13)]);
        assert_eq!(peers.changes(changes(11, 13), now), []);
        assert_eq!(peers.changes(changes(12, 15), now), [apply(14, 15)]);
        assert_eq!(peers.changes(changes(16, 15), now), [], "no changes are fine");
        assert_eq!(peers.tick(now + ASK_AGAIN), []);
    }

    #[test]
    fn after_a_gap_the_whole_is_asked_for_and_what_came_meanwhile_is_applied() {
        let now = Instant::now();
        let mut peers = met(now);
        assert_eq!(peers.changes(changes(14, 15), now), [], "it was asked a moment ago");
        assert_eq!(peers.tick(now + ASK_AGAIN), [Step::Ask(OTHER)]);
        assert_eq!(peers.part(part(2, 12, (0, 2))), []);
        assert_eq!(peers.changes(changes(16, 16), now), []);
        assert_eq!(peers.part(part(2, 12, (1, 2))), [replace(2)], "13 is still missing");
        assert_eq!(peers.part(part(3, 14, (0, 1))), [replace(1), apply(15, 16)]);
        assert_eq!(peers.tick(now + 100 * ASK_AGAIN), [], "nothing is missing any more");
        assert_eq!(peers.changes(changes(17, 17), now), [apply(17, 17)]);
    }

    #[test]
    fn what_was_only_late_is_applied_without_the_whole() {
        let now = Instant::now();
        let mut peers = met(now);
        let later = now + ASK_AGAIN;
        assert_eq!(peers.changes(changes(13, 14), later), [Step::Ask(OTHER)]);
        assert_eq!(peers.changes(changes(11, 12), later), [apply(11, 14)]);
        assert_eq!(peers.part(part(2, 12, (0, 1))), [], "it was overtaken");
        assert_eq!(peers.compare(OTHER, summary(14, 5), 5, later), None);
        assert_eq!(peers.tick(later + 100 * ASK_AGAIN), []);
    }

    #[test]
    fn before_the_first_whole_changes_wait() {
        let now = Instant::now();
        let mut peers = Peers::default();
        assert_eq!(peers.changes(changes(1, 3), now), [], "it has not beaten yet");
        peers.met(OTHER, NODE, now);
        assert_eq!(peers.changes(changes(4, 6), now), []);
        assert_eq!(peers.part(part(1, 4, (0, 1))), [replace(1), apply(5, 6)]);
    }

    #[test]
    fn a_node_has_told_its_whole_when_all_parts_are_there() {
        let mut peers = Peers::default();
        assert!(peers.have_told(), "there is none");
        peers.met(OTHER, NODE, Instant::now());
        assert_eq!(peers.part(part(1, 4, (0, 2))), []);
        assert!(!peers.have_told());
        assert_eq!(peers.part(part(1, 4, (1, 2))), [replace(2)]);
        assert!(peers.have_told());
    }

    #[test]
    fn parts_of_several_wholes_are_not_mixed() {
        let now = Instant::now();
        let mut peers = met(now);
        assert_eq!(peers.part(part(2, 12, (0, 2))), []);
        assert_eq!(peers.part(part(3, 13, (1, 2))), []);
        assert_eq!(peers.part(part(2, 12, (1, 2))), [], "it is of an older whole");
        assert_eq!(peers.part(part(3, 13, (1, 2))), [], "it came twice");
        assert_eq!(peers.part(part(3, 13, (7, 9))), [], "it does not fit");
        assert_eq!(peers.part(part(3, 13, (0, 2))), [replace(2)]);
        assert_eq!(peers.part(part(3, 13, (0, 1))), [], "it is known already");
    }

    #[test]
    fn a_beat_that_has_told_other_or_more_than_came_is_asked_about() {
        let now = Instant::now();
        let mut peers = met(now);
        let later = now + ASK_AGAIN;
        assert_eq!(peers.compare(OTHER, summary(10, 5), 5, later), None);
        assert_eq!(peers.compare(OTHER, summary(10, 5), 6, later), Some(Step::Ask(OTHER)), "another digest");
        let mut peers = met(now);
        assert_eq!(peers.compare(OTHER, summary(12, 5), 6, later), None, "they may be on the way");
        assert_eq!(peers.compare(OTHER, summary(12, 5), 6, later), Some(Step::Ask(OTHER)));
        let mut peers = met(now);
        peers.changes(changes(11, 12), now);
        assert_eq!(peers.compare(OTHER, summary(11, 4), 5, later), None, "the beat was overtaken");
        peers.gone(OTHER);
        assert_eq!(peers.compare(OTHER, summary(20, 4), 5, later), None);
        assert_eq!(peers.part(part(9, 20, (0, 1))), []);
    }

    #[test]
    fn asking_is_repeated_less_and_less_often_until_it_is_answered() {
        let now = Instant::now();
        let mut peers = Peers::default();
        peers.met(OTHER, NODE, now);
        let asked =
            (1..=60_u32).filter(|second| !peers.tick(now + Duration::from_secs(1) * *second).is_empty());
        assert_eq!(asked.collect::<Vec<_>>(), [1, 3, 7, 15, 23, 31, 39, 47, 55]);
        assert_eq!(peers.part(part(1, 10, (0, 1))), [replace(1)]);
        assert_eq!(peers.tick(now + Duration::from_secs(100)), []);
        assert_eq!(peers.missed(now + Duration::from_secs(100)), [Step::Ask(OTHER)]);
    }

    #[test]
    fn changes_that_wait_are_bounded() {
        let now = Instant::now();
        let mut peers = met(now);
        for first in (1..).map(|message| 12 + message * 5_000).take(20) {
            peers.changes(changes(first, first + 4_999), now);
        }
        let waiting = peers.peers.values().map(|peer| peer.waiting.len()).sum::<usize>();
        assert!((1..=WAITING_LIMIT).contains(&waiting), "{waiting}");
    }
}
