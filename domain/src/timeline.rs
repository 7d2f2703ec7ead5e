//! What one reader sees of a chat: a pure fold of events, with the reader's own messages that are not stored yet.

use crate::{
    Body, ChatId, ClientId, Epoch, Event, EventKind, Expiry, Nickname, Problem, Seq, Timestamp, User, UserId,
    frame::{Ask, Cursor},
    page::History,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest time between two messages of one author in the same group, in milliseconds.
const GROUP_MILLIS: u64 = 5 * 60 * 1000;
const MINUTE_MILLIS: i64 = 60_000;

/// About how many events are kept, around what is read. Those further away are unloaded and loaded again in pages.
pub const KEPT_EVENTS: usize = 100;
/// How many more events may accumulate before the furthest are unloaded.
const SPARE_EVENTS: usize = 25;

/// The maximum number of own messages waiting to be stored; further ones stay in the composer.
pub const PENDING_LIMIT: usize = 100;

/// A range of the events of a chat, in order, without a gap and without a duplicate, followed by the reader's own
/// messages that are not stored yet. It ends with the newest event, unless the reader is further up. Events far from
/// what is read are unloaded ([`Timeline::let_go`]) and loaded again in pages of history, so that memory stays bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    me: UserId,
    epoch: Epoch,
    /// The newest event received, loaded or not.
    seq: Seq,
    /// Whether there are events before those loaded.
    earlier: bool,
    /// Whether there are events after those loaded, up to `seq`.
    later: bool,
    events: Vec<Arc<Event>>,
    pending: Vec<Pending>,
    hidden: Vec<UserId>,
    /// The newest event the reader has seen.
    seen: Seq,
    /// The number of messages of others after `seen` that are not loaded.
    missed_elsewhere: usize,
    /// Recent removals of messages, oldest first, to apply to pages of history that were read before them.
    removals: Vec<Arc<Event>>,
}

/// The maximum number of removals kept: far more than can happen while one page of history is under way.
const REMOVALS_LIMIT: usize = 256;

/// An own message that is shown before it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The id made for it here.
    pub client_id: ClientId,
    /// The text.
    pub body: Body,
    /// When it was written, by the server's clock as far as the page knows it.
    pub at: Timestamp,
    /// The author: the browser may have become another user since. `None` in data of older versions, which did not keep it.
    #[serde(default)]
    pub author: Option<UserId>,
    /// Why it was refused. `None` while it is being sent.
    pub problem: Option<Problem>,
}

impl Pending {
    /// Returns the request to post it, given the current time by the server's clock.
    pub fn ask(&self, chat: ChatId, now: Timestamp) -> Ask {
        let Self { client_id, body, at, .. } = self;
        Ask::Post {
            chat,
            client_id: *client_id,
            body: body.to_string(),
            waited_millis: now.millis_since(*at),
        }
    }
}

/// The result of applying an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is the newest event now.
    Appended,
    /// It was applied before. Nothing changed.
    Known,
    /// Events before it are missing. Nothing changed, and the client has to watch again from its cursor.
    Gap,
}

/// The state of an own message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Not stored: being sent, or refused with this problem.
    Waits(Option<Problem>),
    /// Stored at this position.
    Stored(Seq),
}

/// A row of the timeline, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it shows.
    pub content: RowContent,
    /// Whether it is the first row of a day.
    pub starts_day: bool,
    /// Whether it shows the author's name, instead of belonging to the group of the row above.
    pub starts_group: bool,
}

/// The content of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowContent {
    /// A stored event.
    Stored(Arc<Event>),
    /// An own message that is not stored yet.
    Pending(Pending),
    /// Adjacent messages of a user whom the reader has hidden.
    Hidden(HiddenMessages),
}

/// Messages that are not shown, as one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenMessages {
    /// The author, with their nickname in the last of these messages.
    pub person: User,
    /// The sequence number of the first.
    pub first: Seq,
    /// The number of messages.
    pub count: usize,
}

/// Identifies a row. The key stays the same for as long as the row is shown: when its message is stored or removed, or
/// becomes the first of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// An event, by its sequence number.
    Seq(Seq),
    /// An own message, by its id.
    Own(ClientId),
    /// Hidden messages, by the sequence number of the first.
    Hidden(Seq),
}

impl Timeline {
    /// Creates the timeline from the first page of history.
    pub fn new(me: UserId, history: History) -> Self {
        let mut timeline = Self {
            me,
            epoch: history.epoch,
            seq: Seq::ZERO,
            earlier: false,
            later: false,
            events: Vec::new(),
            pending: Vec::new(),
            hidden: Vec::new(),
            seen: history.seq,
            missed_elsewhere: 0,
            removals: Vec::new(),
        };
        timeline.reset(history);
        timeline
    }

    /// Changes the reader, after the browser's session changed. Messages that wait were written by the previous user,
    /// and are held back until the reader decides to send them.
    pub fn read_by(&mut self, me: UserId) {
        self.me = me;
        self.drop_stored();
        self.hold_back();
    }

    /// Holds back messages that another user of this browser wrote.
    fn hold_back(&mut self) {
        for pending in &mut self.pending {
            if pending.author.is_some_and(|author| author != self.me) {
                pending.problem = Some(Problem::WrittenAsAnother);
            } else if pending.problem == Some(Problem::WrittenAsAnother) {
                pending.problem = None;
            }
        }
    }

    /// Holds back messages that have waited longer than messages are kept: they may have been stored, seen and expired
    /// since, and would be posted twice.
    pub fn hold_back_old(&mut self, expiry: Expiry) {
        for pending in &mut self.pending {
            if pending.problem.is_none() && expiry.of_event(pending.at) {
                pending.problem = Some(Problem::WaitedTooLong);
            }
        }
    }

    /// Discards an own message that is not stored and returns its text. `None` if it is stored by now.
    pub fn discard(&mut self, client_id: ClientId) -> Option<Body> {
        let place = self.pending.iter().position(|pending| pending.client_id == client_id)?;
        Some(self.pending.remove(place).body)
    }

    /// Replaces the set of users whose messages are not shown.
    pub fn hide(&mut self, hidden: impl IntoIterator<Item = UserId>) {
        self.hidden = hidden.into_iter().collect();
    }

    /// Returns the cursor to resume from.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq }
    }

    /// Whether there are events before those loaded.
    pub fn has_earlier(&self) -> bool {
        self.earlier
    }

    /// Whether there are events after those loaded.
    pub fn has_later(&self) -> bool {
        self.later
    }

    /// Applies the next event. Duplicates are ignored and gaps reported, so events may be delivered repeatedly. If the
    /// newest events are not loaded, the event is counted but not kept.
    pub fn apply(&mut self, event: Event) -> Applied {
        if event.seq <= self.seq {
            return Applied::Known;
        }
        if event.prev != self.seq {
            return Applied::Gap;
        }
        self.seq = event.seq;
        if let Some(own) = self.own(&event) {
            self.pending.retain(|pending| pending.client_id != own);
        }
        let event = Arc::new(event);
        if takes_away(&event) {
            redact(&mut self.events, &event);
            self.removals.push(Arc::clone(&event));
            if self.removals.len() > REMOVALS_LIMIT {
                self.removals.remove(0);
            }
        }
        if self.later {
            self.missed_elsewhere += usize::from(self.is_missed(&event));
        } else {
            self.events.push(event);
        }
        Applied::Appended
    }

    /// Marks everything up to now as seen by the reader.
    pub fn see(&mut self) {
        self.seen = self.seq;
        self.missed_elsewhere = 0;
    }

    /// Returns the newest event the reader has seen.
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// Unloads the events furthest from what is read, if there are too many. About [`KEPT_EVENTS`] stay, and at least
    /// all between the first and the last event that `read` returns, with some on either side.
    pub fn let_go(&mut self, read: impl FnOnce() -> (Seq, Seq)) {
        let count = self.events.len();
        if count <= KEPT_EVENTS + SPARE_EVENTS {
            return;
        }
        let (first, last) = read();
        let from = self.events.partition_point(|event| event.seq < first);
        let to = self.events.partition_point(|event| event.seq <= last).max(from);
        let keep = KEPT_EVENTS.max(to - from + 2 * SPARE_EVENTS);
        if count <= keep + SPARE_EVENTS {
            return;
        }
        let end = (from.saturating_sub((keep + from - to) / 2) + keep).min(count);
        let after: Vec<_> = self.events.drain(end..).collect();
        let before: Vec<_> = self.events.drain(..end - keep).collect();
        self.later |= !after.is_empty();
        self.earlier |= !before.is_empty();
        self.missed_elsewhere += before.iter().chain(&after).filter(|event| self.is_missed(event)).count();
    }

    /// Whether this is a message of another user that the reader has not seen, and that is not hidden.
    fn is_missed(&self, event: &Event) -> bool {
        let is_shown = |author| author != self.me && !self.hidden.contains(&author);
        event.seq > self.seen && matches!(&event.kind, EventKind::Posted(message) if is_shown(message.author))
    }

    /// Returns the position of a stored message by its author and id, or `None` if it is not loaded. Searches from the newest.
    pub fn place(&self, author: UserId, client_id: ClientId) -> Option<Seq> {
        let is_it = |event: &&Arc<Event>| matches!(&event.kind, EventKind::Posted(said) if said.author == author && said.client_id == client_id);
        self.events.iter().rev().find(is_it).map(|event| event.seq)
    }

    /// Returns the event at a position, or `None` if it is not loaded.
    pub fn event(&self, seq: Seq) -> Option<&Event> {
        let place = self.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        self.events.get(place).map(|event| &**event)
    }

    /// Returns the position of the oldest event loaded, or `None` if there is none.
    pub fn oldest(&self) -> Option<Seq> {
        self.events.first().map(|event| event.seq)
    }

    /// Returns the position of the newest event loaded, or `None` if there is none.
    pub fn newest(&self) -> Option<Seq> {
        self.events.last().map(|event| event.seq)
    }

    /// Returns the position of the first row to show after an event, leaving out hidden users. `None` if it is not
    /// loaded or there is none.
    pub fn first_after(&self, seq: Seq) -> Option<Seq> {
        if self.begins_after(seq) {
            return None;
        }
        let is_shown =
            |event: &Arc<Event>| said_by(event).is_none_or(|author| !self.hidden.contains(&author));
        self.told().iter().filter(|event| is_shown(event)).map(|event| event.seq).find(|told| *told > seq)
    }

    /// Whether the event right after this position is not loaded.
    pub fn begins_after(&self, seq: Seq) -> bool {
        self.earlier && self.events.first().is_some_and(|first| first.prev > seq)
    }

    /// Returns the number of messages of others that the reader has not seen, leaving out hidden users.
    pub fn missed(&self) -> usize {
        self.missed_elsewhere + self.events.iter().filter(|event| self.is_missed(event)).count()
    }

    /// Whether there are events that the reader has not seen, leaving out hidden users and the reader's own messages.
    pub fn has_missed(&self) -> bool {
        let is_news = |event: &Arc<Event>| {
            let author = said_by(event);
            event.seq > self.seen
                && author != Some(self.me)
                && author.is_none_or(|author| !self.hidden.contains(&author))
        };
        self.missed() > 0 || self.told().iter().any(is_news)
    }

    /// Whether there are no messages, as far as is loaded.
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && !self.events.iter().any(|event| said_by(event).is_some())
    }

    /// Whether any loaded event has expired.
    pub fn has_expired(&self, expiry: Expiry) -> bool {
        self.events.iter().any(|event| expiry.of_event(event.at))
    }

    /// Adds the page of history before an event. Does nothing if that is not the oldest event loaded any more.
    pub fn prepend(&mut self, before: Seq, events: Vec<Event>, earlier: bool) {
        if self.oldest() != Some(before) {
            return;
        }
        let page = self.page(events);
        self.events.splice(..0, page);
        self.earlier = earlier;
        self.drop_stored();
    }

    /// Adds the page of history after an event, up to the newest event received: later ones are delivered as events.
    /// Does nothing if that is not the newest event loaded any more.
    pub fn append(&mut self, after: Seq, events: Vec<Event>) {
        if !self.later || self.newest() != Some(after) {
            return;
        }
        let page = self.page(events);
        // an empty page is the last one
        self.later = page.last().is_some_and(|last| last.seq < self.seq);
        self.events.extend(page);
        self.drop_stored();
    }

    /// Replaces the loaded events by a page of history.
    pub fn turn_to(&mut self, events: Vec<Event>, earlier: bool) {
        let gone = std::mem::take(&mut self.events);
        self.missed_elsewhere += gone.iter().filter(|event| self.is_missed(event)).count();
        self.events = self.page(events);
        self.earlier = earlier;
        self.later = self.newest().is_some_and(|newest| newest < self.seq);
        self.drop_stored();
    }

    /// Prepares a page of history: it may have been read before messages were removed.
    fn page(&mut self, events: Vec<Event>) -> Vec<Arc<Event>> {
        let known = events.into_iter().filter(|event| event.seq <= self.seq);
        let mut page: Vec<_> = known.map(Arc::new).collect();
        self.removals.iter().for_each(|removal| redact(&mut page, removal));
        let missed = page.iter().filter(|event| self.is_missed(event)).count();
        self.missed_elsewhere = self.missed_elsewhere.saturating_sub(missed);
        page
    }

    /// Drops the events that have expired, which are the oldest. Own messages that wait stay.
    pub fn forget(&mut self, expiry: Expiry) {
        // The order is by position: where the clock was set back, a later event may have an earlier time.
        let expired =
            self.events.iter().rposition(|event| expiry.of_event(event.at)).map_or(0, |last| last + 1);
        self.events.drain(..expired);
        // whatever precedes an expired event has expired as well
        self.earlier &= expired == 0;
    }

    /// Starts over from a snapshot. Own messages that wait stay, except those in the snapshot.
    pub fn reset(&mut self, history: History) {
        if self.epoch != history.epoch {
            // positions in another log are unrelated to those in this one
            self.seen = history.seq;
        }
        self.epoch = history.epoch;
        self.seq = history.seq;
        self.earlier = history.earlier;
        self.later = false;
        self.events = history.events.into_iter().map(Arc::new).collect();
        self.missed_elsewhere = 0;
        self.removals.clear();
        self.drop_stored();
    }

    fn drop_stored(&mut self) {
        let stored: Vec<_> = self.events.iter().filter_map(|event| self.own(event)).collect();
        self.pending.retain(|pending| !stored.contains(&pending.client_id));
    }

    /// Adds an own message before it is stored. Returns false, and does nothing, if too many wait already.
    pub fn echo(&mut self, client_id: ClientId, body: Body, at: Timestamp) -> bool {
        let there_is_room = self.pending.len() < PENDING_LIMIT;
        if there_is_room {
            self.pending.push(Pending { client_id, body, at, author: Some(self.me), problem: None });
        }
        there_is_room
    }

    /// Returns the own messages that are not stored yet, oldest first.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// Adds the own messages that were waiting when the page was left, before those written since and without those
    /// that turn out to be stored. Beyond [`PENDING_LIMIT`] the newest of them are dropped.
    pub fn restore(&mut self, kept: Vec<Pending>) {
        let room = PENDING_LIMIT.saturating_sub(self.pending.len());
        self.pending.splice(..0, kept.into_iter().take(room));
        self.drop_stored();
        self.retry_transient();
        self.hold_back();
    }

    /// Clears the problem of messages that were refused only because of the state of the connection or the server, so
    /// that they are sent again.
    pub fn retry_transient(&mut self) {
        for pending in &mut self.pending {
            pending.problem = pending.problem.filter(|problem| !problem.is_of_connection());
        }
    }

    /// Adjusts to a server clock that is `by` milliseconds ahead of what was known: how long messages have waited does
    /// not change.
    pub fn clock_set(&mut self, by: i64) {
        self.pending.iter_mut().for_each(|pending| pending.at = pending.at.moved(by));
    }

    /// Records that an own message is stored at this position. It keeps waiting until its event is applied, unless the
    /// timeline is past that position: then the event will not come again.
    pub fn stored(&mut self, client_id: ClientId, seq: Seq) {
        if seq <= self.seq {
            self.pending.retain(|pending| pending.client_id != client_id);
        }
    }

    /// Records that an own message was refused.
    pub fn fail(&mut self, client_id: ClientId, problem: Problem) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.client_id == client_id) {
            pending.problem = Some(problem);
        }
    }

    /// Retries an own message at this time, as the current reader. Returns what to send, under the same id. `None` if
    /// it does not wait any more.
    pub fn retry(&mut self, client_id: ClientId, at: Timestamp) -> Option<Pending> {
        let me = self.me;
        let pending = self.pending.iter_mut().find(|pending| pending.client_id == client_id)?;
        pending.problem = None;
        pending.author = Some(me);
        pending.at = at;
        Some(pending.clone())
    }

    /// Returns the own messages being sent, oldest first: those to send again after a reconnect.
    pub fn on_their_way(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(|pending| pending.problem.is_none())
    }

    /// Returns the rows to show. Days and groups follow the local time: `offset_minutes` gives its offset east of UTC
    /// at a point in time.
    pub fn rows(&self, offset_minutes: impl Fn(Timestamp) -> i32) -> Vec<Row> {
        let day = |at| local(at, offset_minutes(at)).utc_day();
        let stored =
            self.told().into_iter().map(|event| (event.at, said_by(&event), RowContent::Stored(event)));
        let pending =
            self.pending.iter().map(|own| (own.at, Some(self.me), RowContent::Pending(own.clone())));
        let mut before: Option<(Timestamp, Option<UserId>)> = None;
        let mut rows: Vec<Row> = Vec::new();
        for (at, author, content) in stored.chain(pending) {
            let starts_day = before.is_none_or(|(then, _)| day(at) != day(then));
            let starts_group = starts_day
                || author.is_none()
                || before.is_none_or(|(then, who)| who != author || at.0.abs_diff(then.0) > GROUP_MILLIS);
            before = Some((at, author));
            let content = self.hidden_or(content);
            match (rows.last_mut().map(|row| &mut row.content), &content) {
                (Some(RowContent::Hidden(above)), RowContent::Hidden(next))
                    if above.person.id == next.person.id && !starts_day =>
                {
                    above.person = next.person.clone();
                    above.count += 1;
                }
                _ => rows.push(Row { content, starts_day, starts_group }),
            }
        }
        rows
    }

    fn hidden_or(&self, content: RowContent) -> RowContent {
        let RowContent::Stored(event) = &content else { return content };
        let (id, nickname) = match &event.kind {
            EventKind::Posted(message) => (message.author, &message.nickname),
            EventKind::Tombstone(tombstone) => (tombstone.author, &tombstone.nickname),
            _ => return content,
        };
        if !self.hidden.contains(&id) {
            return content;
        }
        let person = User { id, nickname: nickname.clone() };
        RowContent::Hidden(HiddenMessages { person, first: event.seq, count: 1 })
    }

    /// Returns the events worth showing: renames of one user in a row are merged.
    fn told(&self) -> Vec<Arc<Event>> {
        let mut told: Vec<Arc<Event>> = Vec::with_capacity(self.events.len());
        for event in &self.events {
            let before = told.last().and_then(|before| renamed(before));
            match (before, renamed(event)) {
                (Some((who, from, _)), Some((same, _, to))) if who == same => {
                    let kind = EventKind::Renamed { user: who, from: from.clone(), to: to.clone() };
                    told.pop();
                    told.push(Arc::new(Event { kind, ..Event::clone(event) }));
                }
                _ => told.push(Arc::clone(event)),
            }
        }
        told.retain(|event| match &event.kind {
            // a rename that ends at the first name needs no row, and a hidden user gets none to say things with
            EventKind::Renamed { user, from, to } => from != to && !self.hidden.contains(user),
            // shown in place of the message
            EventKind::MessageRemoved { .. } | EventKind::OwnRemoved { .. } => false,
            _ => true,
        });
        told
    }

    /// Returns the id if this event is an own message, or one that the reader wrote as another user and that waits here.
    fn own(&self, event: &Event) -> Option<ClientId> {
        let (author, client_id) = match &event.kind {
            EventKind::Posted(message) => (message.author, message.client_id),
            EventKind::Tombstone(tombstone) => (tombstone.author, tombstone.client_id),
            _ => return None,
        };
        let waits = |own: &Pending| own.client_id == client_id && own.author.unwrap_or(self.me) == author;
        (author == self.me || self.pending.iter().any(waits)).then_some(client_id)
    }
}

/// Whether an event removes earlier messages.
fn takes_away(event: &Event) -> bool {
    matches!(event.kind, EventKind::MessageRemoved { .. }) || event.clears().is_some()
}

/// Replaces the messages that an event removed by tombstones, as far as they are among these events.
fn redact(events: &mut [Arc<Event>], removal: &Event) {
    if let EventKind::MessageRemoved { message, by } = removal.kind
        && let Ok(place) = events.binary_search_by_key(&message, |event| event.seq)
    {
        events[place] = Arc::new(Event::clone(&events[place]).redact(by));
    }
    let Some((authors, by)) = removal.clears() else { return };
    for event in events.iter_mut().filter(|event| event.seq < removal.seq) {
        if matches!(&event.kind, EventKind::Posted(message) if authors.contains(&message.author)) {
            *event = Arc::new(Event::clone(event).redact(by));
        }
    }
}

/// Returns the author if the event is a message or a tombstone, or `None`.
pub fn said_by(event: &Event) -> Option<UserId> {
    match &event.kind {
        EventKind::Posted(message) => Some(message.author),
        EventKind::Tombstone(tombstone) => Some(tombstone.author),
        _ => None,
    }
}

fn renamed(event: &Event) -> Option<(UserId, &Nickname, &Nickname)> {
    match &event.kind {
        EventKind::Renamed { user, from, to } => Some((*user, from, to)),
        _ => None,
    }
}

impl Row {
    /// Returns the key of the row within a timeline read by `me`.
    pub fn key(&self, me: UserId) -> RowKey {
        match &self.content {
            RowContent::Pending(pending) => RowKey::Own(pending.client_id),
            RowContent::Hidden(hidden) => RowKey::Hidden(hidden.first),
            RowContent::Stored(event) => match &event.kind {
                EventKind::Posted(message) if message.author == me => RowKey::Own(message.client_id),
                EventKind::Tombstone(tombstone) if tombstone.author == me => RowKey::Own(tombstone.client_id),
                _ => RowKey::Seq(event.seq),
            },
        }
    }
}

/// Returns a point in time moved so that its UTC reading is the local time, `offset_minutes` east of UTC.
pub fn local(at: Timestamp, offset_minutes: i32) -> Timestamp {
    Timestamp(at.0.saturating_add_signed(i64::from(offset_minutes) * MINUTE_MILLIS))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{Lifetimes, Message, Nickname, RemovedBy, Span, User, id::ID_BYTES};

    const CHAT: ChatId = ChatId::from_bytes([7; ID_BYTES]);
    const EPOCH: Epoch = Epoch::from_bytes([1; ID_BYTES]);
    const ME: UserId = UserId::from_bytes([1; ID_BYTES]);
    const OTHER: UserId = UserId::from_bytes([2; ID_BYTES]);
    const MINUTE: u64 = 60_000;

    fn client_id(number: u64) -> ClientId {
        let mut bytes = [0; ID_BYTES];
        bytes[2..].copy_from_slice(&number.to_be_bytes());
        ClientId::from_bytes(bytes)
    }

    fn body(text: &str) -> Body {
        Body::parse(text).unwrap()
    }

    fn posted(author: UserId, seq: u64, prev: u64, at: u64) -> Event {
        let nickname: Nickname = User::new(author).nickname;
        let message =
            Message { author, nickname, client_id: client_id(seq), body: body(&format!("message {seq}")) };
        Event {
            chat: CHAT,
            seq: Seq(seq),
            prev: Seq(prev),
            at: Timestamp(at),
            kind: EventKind::Posted(message),
        }
    }

    /// A log of `count` messages of two users, with positions left out between them, as other chats take them.
    fn log(count: u64) -> Vec<Event> {
        (1..=count)
            .map(|n| posted(if n % 3 == 0 { ME } else { OTHER }, n * 3, (n - 1) * 3, n * MINUTE))
            .collect()
    }

    fn history(events: Vec<Event>, earlier: bool) -> History {
        let seq = events.last().map_or(Seq::ZERO, |event| event.seq);
        History { epoch: EPOCH, seq, events, earlier }
    }

    fn empty() -> Timeline {
        Timeline::new(ME, history(vec![], false))
    }

    #[test]
    fn a_hole_is_seen_and_nothing_changes() {
        let log = log(3);
        let mut timeline = empty();
        assert_eq!(timeline.apply(log[0].clone()), Applied::Appended);
        let before = timeline.clone();
        assert_eq!(timeline.apply(log[2].clone()), Applied::Gap);
        assert_eq!(timeline, before);
        assert_eq!(timeline.apply(log[1].clone()), Applied::Appended);
        assert_eq!(timeline.apply(log[2].clone()), Applied::Appended);
        assert_eq!(timeline.apply(log[1].clone()), Applied::Known);
    }

    #[test]
    fn an_echo_is_replaced_by_its_event() {
        let mut timeline = empty();
        assert!(timeline.echo(client_id(3), body("message 3"), Timestamp(5)));
        let key = timeline.rows(|_| 0)[0].key(ME);
        timeline.stored(client_id(3), Seq(3));
        assert_eq!(timeline.on_their_way().count(), 1, "its event is not here yet");
        timeline.apply(posted(ME, 3, 0, 6));
        assert_eq!(timeline.on_their_way().count(), 0);
        assert_eq!(timeline.rows(|_| 0).len(), 1);
        assert_eq!(timeline.rows(|_| 0)[0].key(ME), key, "the row stays the same row");
    }

    #[test]
    fn a_browser_with_another_session_reads_as_somebody_else() {
        let mut timeline = empty();
        timeline.echo(client_id(3), body("stored already, by who I am now"), Timestamp(5));
        timeline.echo(client_id(4), body("waits"), Timestamp(5));
        timeline.apply(posted(OTHER, 3, 0, 6));
        timeline.read_by(OTHER);
        assert_eq!(timeline.on_their_way().count(), 0, "neither is sent as somebody who did not write it");
        assert!(timeline.retry(client_id(3), Timestamp(7)).is_none(), "it is stored");
        assert!(timeline.retry(client_id(4), Timestamp(7)).is_some());
        timeline.apply(posted(OTHER, 4, 3, 7));
        assert_eq!(timeline.pending(), []);
    }

    #[test]
    fn what_waited_waits_again_unless_it_was_stored() {
        let mut before = empty();
        for number in 1..=3 {
            before.echo(client_id(number), body("waits"), Timestamp(5));
        }
        before.fail(client_id(2), Problem::ChatLocked);
        before.fail(client_id(3), Problem::UnknownVersion);
        let kept = before.pending().to_vec();
        // the first was stored, although its answer was lost before the page was left
        let mut timeline = Timeline::new(ME, history(vec![posted(ME, 1, 0, 6)], false));
        timeline.echo(client_id(9), body("written since"), Timestamp(7));
        timeline.restore(kept);
        let waiting: Vec<_> = timeline.pending().iter().map(|own| (own.client_id, own.problem)).collect();
        let expected = [(2, Some(Problem::ChatLocked)), (3, None), (9, None)];
        assert_eq!(waiting, expected.map(|(number, problem)| (client_id(number), problem)));
    }

    #[test]
    fn what_waited_does_not_crowd_out_what_is_written_now() {
        let mut timeline = empty();
        timeline.echo(client_id(0), body("written since"), Timestamp(7));
        let kept = |number| Pending {
            author: None,
            client_id: client_id(number),
            body: body("x"),
            at: Timestamp(1),
            problem: None,
        };
        timeline.restore((1..=200).map(kept).collect());
        assert_eq!(timeline.pending().len(), PENDING_LIMIT);
        assert_eq!(timeline.pending().last().map(|own| own.client_id), Some(client_id(0)));
    }

    #[test]
    fn what_was_written_as_another_user_is_held_back_until_the_reader_sends_it() {
        let mut timeline = empty();
        timeline.echo(client_id(1), body("written as ME"), Timestamp(5));
        timeline.echo(client_id(2), body("stored as ME after all"), Timestamp(6));
        timeline.read_by(OTHER);
        assert_eq!(timeline.on_their_way().count(), 0);
        let held = Some(Problem::WrittenAsAnother);
        assert!(timeline.pending().iter().all(|own| own.problem == held));
        timeline.retry_transient();
        assert!(
            timeline.pending().iter().all(|own| own.problem == held),
            "a connection changes nothing of that"
        );
        timeline.apply(posted(ME, 2, 0, 7));
        assert_eq!(timeline.pending().len(), 1);

        timeline.read_by(ME);
        assert_eq!(timeline.on_their_way().count(), 1);
        timeline.read_by(OTHER);
        let sent = timeline.retry(client_id(1), Timestamp(9)).unwrap();
        assert_eq!((sent.author, sent.problem), (Some(OTHER), None));
        timeline.restore(vec![Pending { client_id: client_id(3), author: Some(ME), ..sent }]);
        assert_eq!(timeline.pending()[0].problem, held, "what was kept for the tab as well");
    }

    #[test]
    fn what_waited_longer_than_messages_are_kept_is_held_back() {
        let mut timeline = empty();
        timeline.echo(client_id(1), body("long ago"), Timestamp(1_000));
        timeline.echo(client_id(2), body("just now"), Timestamp(5_000));
        let lifetimes = Lifetimes { message: Span::seconds(3), ..Lifetimes::default() };
        timeline.hold_back_old(Expiry { now: Timestamp(6_000), lifetimes });
        let problems: Vec<_> = timeline.pending().iter().map(|own| own.problem).collect();
        assert_eq!(problems, [Some(Problem::WaitedTooLong), None]);
        assert_eq!(timeline.discard(client_id(1)), Some(body("long ago")));
        assert_eq!((timeline.discard(client_id(1)), timeline.pending().len()), (None, 1));
    }

    #[test]
    fn somebody_else_cannot_replace_my_echo() {
        let mut timeline = empty();
        timeline.echo(client_id(3), body("mine"), Timestamp(5));
        timeline.apply(posted(OTHER, 3, 0, 6));
        assert_eq!(timeline.on_their_way().count(), 1);
    }

    #[test]
    fn a_message_stored_before_the_snapshot_is_not_sent_for_ever() {
        let mut timeline = empty();
        timeline.echo(client_id(3), body("in the snapshot"), Timestamp(5));
        timeline.echo(client_id(4), body("older than the snapshot"), Timestamp(5));
        timeline.echo(client_id(5), body("not stored yet"), Timestamp(5));
        timeline.reset(history(vec![posted(ME, 3, 2, 6)], true));
        timeline.stored(client_id(4), Seq(2));
        let left: Vec<_> = timeline.on_their_way().map(|pending| pending.client_id).collect();
        assert_eq!(left, [client_id(5)]);
        assert!(timeline.has_earlier());
    }

    #[test]
    fn what_is_new_is_counted_and_found() {
        let log = log(6);
        let timeline = Timeline::new(ME, history(log.clone(), false));
        assert_eq!(timeline.first_after(log[1].seq), Some(log[2].seq));
        assert_eq!(timeline.first_after(log[5].seq), None);
        assert_eq!((timeline.missed(), timeline.has_missed()), (0, false), "the page was seen as it came");
        let mut timeline = Timeline::new(ME, history(log[..2].to_vec(), false));
        log[2..].iter().for_each(|event| assert_eq!(timeline.apply(event.clone()), Applied::Appended));
        assert_eq!((timeline.missed(), timeline.has_missed()), (2, true), "two of four are one's own");
        timeline.see();
        assert_eq!((timeline.missed(), timeline.has_missed()), (0, false));
    }

    #[test]
    fn a_removed_message_leaves_a_blank_in_its_place() {
        let log = log(4);
        let mut timeline = Timeline::new(ME, history(log[..1].to_vec(), false));
        log[1..].iter().for_each(|event| assert_eq!(timeline.apply(event.clone()), Applied::Appended));
        assert_eq!(timeline.missed(), 2);
        let keys =
            |timeline: &Timeline| timeline.rows(|_| 0).iter().map(|row| row.key(ME)).collect::<Vec<_>>();
        let before = keys(&timeline);
        for (place, message) in [(20, log[1].seq), (21, log[2].seq)] {
            let kind = EventKind::MessageRemoved { message, by: RemovedBy::Owner };
            let removal = Event { seq: Seq(place), prev: timeline.cursor().seq, kind, ..log[3].clone() };
            assert_eq!(timeline.apply(removal), Applied::Appended);
        }
        assert_eq!(keys(&timeline), before, "the removals have no lines, and the blanks are the same rows");
        let shown = format!("{timeline:?}");
        assert!(!shown.contains("message 6") && !shown.contains("message 9"), "what was said is nowhere");
        assert_eq!(timeline.missed(), 1);
        let mut own = Timeline::new(ME, history(log[..2].to_vec(), false));
        own.echo(client_id(9), body("message 9"), Timestamp(5));
        own.apply(log[2].clone().redact(RemovedBy::Owner));
        assert_eq!(
            own.pending(),
            [],
            "an own message that was removed before it was seen does not wait for ever"
        );
    }

    #[test]
    fn whoever_is_hidden_is_counted_and_not_shown() {
        let log = log(6);
        let mut timeline = Timeline::new(ME, history(log.clone(), false));
        timeline.hide([OTHER]);
        let counts = |timeline: &Timeline| {
            let rows = timeline.rows(|_| 0).into_iter();
            rows.map(|row| if let RowContent::Hidden(hidden) = row.content { hidden.count } else { 0 })
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&timeline), [2, 0, 2, 0]);
        let mut later = Timeline::new(ME, history(log[..1].to_vec(), false));
        later.hide([OTHER]);
        log[1..].iter().for_each(|event| assert_eq!(later.apply(event.clone()), Applied::Appended));
        assert_eq!(later.missed(), 0, "nobody is called for it");
        assert_eq!(timeline.first_after(Seq::ZERO), Some(log[2].seq), "nothing new begins with it");
        assert_eq!(timeline.first_after(log[2].seq), Some(log[5].seq));
        let renamed =
            EventKind::Renamed { user: OTHER, from: Nickname::friendly(1), to: Nickname::friendly(2) };
        timeline.apply(Event { seq: Seq(30), prev: log[5].seq, kind: renamed, ..log[5].clone() });
        assert_eq!(counts(&timeline), [2, 0, 2, 0]);
        timeline.hide([]);
        assert_eq!(counts(&timeline), [0; 7]);
    }

    #[test]
    fn earlier_events_come_before_and_only_once() {
        let log = log(10);
        let mut timeline = Timeline::new(ME, history(log[6..].to_vec(), true));
        let before = timeline.oldest().unwrap();
        timeline.prepend(before, log[3..6].to_vec(), true);
        timeline.prepend(before, log[3..6].to_vec(), true);
        assert!(timeline.has_earlier());
        timeline.prepend(log[3].seq, log[..3].to_vec(), false);
        assert!(!timeline.has_earlier());
        let shown: Vec<Seq> = timeline.events.iter().map(|event| event.seq).collect();
        assert_eq!(shown, log.iter().map(|event| event.seq).collect::<Vec<_>>());
        assert_eq!(timeline.cursor().seq, log[9].seq, "the cursor stays at the newest");
    }

    /// The numbers of the log's events that are loaded.
    fn here(timeline: &Timeline) -> Vec<u64> {
        timeline.events.iter().map(|event| event.seq.0 / 3).collect()
    }

    #[test]
    fn however_many_come_what_is_kept_is_bounded() {
        let log = log(5_000);
        let mut timeline = Timeline::new(ME, history(log[..50].to_vec(), false));
        for event in &log[50..] {
            assert_eq!(timeline.apply(event.clone()), Applied::Appended);
            // a reader at the end sees about forty
            timeline.let_go(|| (Seq(event.seq.0.saturating_sub(40 * 3)), event.seq));
            assert!(timeline.events.len() <= KEPT_EVENTS + SPARE_EVENTS);
        }
        assert!(timeline.has_earlier() && !timeline.has_later());
        assert_eq!(timeline.newest(), Some(timeline.cursor().seq));
        assert_eq!(timeline.missed(), 3_300, "of 4,950 new ones a third is one's own");
        assert_eq!(timeline.first_after(log[49].seq), None, "which is not here any more");
        timeline.see();
        assert!(!timeline.has_missed());
    }

    #[test]
    fn what_is_read_stays_and_what_came_meanwhile_comes_back_in_pages() {
        let log = log(1_000);
        let mut timeline = Timeline::new(ME, history(log[..150].to_vec(), false));
        let reads = (log[10].seq, log[50].seq);
        for event in &log[150..] {
            assert_eq!(timeline.apply(event.clone()), Applied::Appended);
            timeline.let_go(|| reads);
        }
        assert_eq!(here(&timeline), (1..=100).collect::<Vec<_>>());
        assert!(timeline.has_later() && !timeline.has_earlier());
        assert_eq!(timeline.cursor().seq, log[999].seq);
        let missed = timeline.missed();
        timeline.append(log[149].seq, log[150..200].to_vec());
        assert_eq!(timeline.newest(), Some(log[99].seq), "that is not the page after the newest one here");
        for page in log[100..].chunks(50) {
            let newest = timeline.newest().unwrap();
            timeline.append(newest, page.to_vec());
            timeline.append(newest, page.to_vec());
            timeline.let_go(|| (newest, newest));
            assert!(timeline.events.len() <= KEPT_EVENTS + SPARE_EVENTS);
        }
        assert!(!timeline.has_later() && timeline.has_earlier());
        assert_eq!((timeline.newest(), timeline.missed()), (Some(log[999].seq), missed));
        let oldest = timeline.oldest().unwrap();
        let place = log.iter().position(|event| event.seq == oldest).unwrap();
        assert_eq!(here(&timeline), (place as u64 + 1..=1_000).collect::<Vec<_>>());
        let event = Event { seq: Seq(9_000), prev: log[999].seq, ..log[999].clone() };
        assert_eq!(timeline.apply(event), Applied::Appended);
        assert_eq!(timeline.newest(), Some(Seq(9_000)), "what comes is here again");
    }

    #[test]
    fn whoever_sees_more_than_is_kept_keeps_it() {
        let log = log(1_000);
        let mut timeline = Timeline::new(ME, history(log.clone(), false));
        timeline.let_go(|| (log[300].seq, log[800].seq));
        assert_eq!(here(&timeline), (276..=826).collect::<Vec<_>>());
    }

    #[test]
    fn one_page_leads_to_the_newest_at_once() {
        let log = log(500);
        let mut timeline = Timeline::new(ME, history(log[..150].to_vec(), false));
        for event in &log[150..400] {
            timeline.apply(event.clone());
            timeline.let_go(|| (log[0].seq, log[20].seq));
        }
        // the page includes events not yet received
        timeline.turn_to(log[370..420].to_vec(), true);
        assert_eq!(here(&timeline), (371..=400).collect::<Vec<_>>());
        assert!(timeline.has_earlier() && !timeline.has_later());
        log[400..].iter().for_each(|event| assert_eq!(timeline.apply(event.clone()), Applied::Appended));
        timeline.turn_to(log[150..200].to_vec(), true);
        assert!(timeline.has_later());
        assert_eq!(timeline.first_after(log[149].seq), Some(log[150].seq));
    }

    #[test]
    fn a_page_that_was_read_before_something_was_removed_does_not_bring_it_back() {
        let log = log(10);
        let removal = |place: u64, message: Seq| {
            let kind = EventKind::MessageRemoved { message, by: RemovedBy::Author };
            Event { seq: Seq(place), prev: Seq(place - 1), kind, ..log[9].clone() }
        };
        let mut timeline = Timeline::new(ME, history(log[5..].to_vec(), true));
        assert_eq!(timeline.apply(Event { prev: log[9].seq, ..removal(31, log[3].seq) }), Applied::Appended);
        timeline.prepend(log[5].seq, log[..5].to_vec(), false);
        assert!(!format!("{timeline:?}").contains("message 12"), "it is nowhere");
        assert_eq!(timeline.rows(|_| 0).len(), 10);

        timeline.later = true;
        timeline.events.truncate(5);
        assert_eq!(timeline.apply(removal(32, log[7].seq)), Applied::Appended);
        timeline.append(log[4].seq, log[5..].to_vec());
        assert!(!format!("{timeline:?}").contains("message 24"), "nor after what is here");
    }

    #[test]
    fn what_has_expired_is_forgotten_and_what_waits_is_not() {
        let log = log(10);
        let mut timeline = Timeline::new(ME, history(log[4..].to_vec(), true));
        timeline.echo(client_id(999), body("waits"), Timestamp(0));
        let lifetimes = Lifetimes { message: Span::seconds(60), ..Lifetimes::default() };
        let expiry = |minutes: u64| Expiry { now: Timestamp(minutes * MINUTE), lifetimes };
        timeline.forget(expiry(5));
        assert!(timeline.has_earlier());
        assert_eq!(timeline.oldest(), Some(log[4].seq));
        timeline.forget(expiry(8));
        assert!(!timeline.has_earlier());
        assert_eq!(timeline.oldest(), Some(log[7].seq));
        timeline.forget(expiry(99));
        assert_eq!((timeline.oldest(), timeline.cursor().seq), (None, log[9].seq), "the cursor stays");
        assert_eq!(timeline.rows(|_| 0).len(), 1);
        assert_eq!(timeline.apply(posted(OTHER, 40, 30, 99 * MINUTE)), Applied::Appended);
    }

    #[test]
    fn all_that_some_said_leaves_blanks() {
        let log = log(6);
        let mut timeline = Timeline::new(ME, history(log.clone(), false));
        let removed = |seq, prev, kind| Event { seq: Seq(seq), prev: Seq(prev), kind, ..log[0].clone() };
        let blanks = |timeline: &Timeline| {
            let rows = timeline.rows(|_| 0);
            rows.iter().filter(|row| matches!(&row.content, RowContent::Stored(event) if matches!(event.kind, EventKind::Tombstone(_)))).count()
        };
        let (nickname, first) = (Nickname::friendly(1), User::new(OTHER));
        let kind = EventKind::PeopleRemoved { nickname, first, others: Vec::new() };
        assert_eq!(timeline.apply(removed(20, 18, kind)), Applied::Appended);
        assert_eq!((blanks(&timeline), timeline.rows(|_| 0).len()), (4, 7), "and a line says so");
        timeline.apply(removed(21, 20, EventKind::OwnRemoved { user: ME }));
        assert_eq!(
            (blanks(&timeline), timeline.rows(|_| 0).len()),
            (6, 7),
            "of oneself the places say enough"
        );
        assert!(!format!("{timeline:?}").contains("message 6"), "what was said is nowhere");
    }

    #[test]
    fn where_the_clock_was_set_back_order_is_by_place() {
        const DAY: u64 = 24 * 60 * MINUTE;
        let events =
            vec![posted(OTHER, 1, 0, 3 * DAY), posted(OTHER, 2, 1, DAY), posted(OTHER, 3, 2, DAY + MINUTE)];
        let mut timeline = Timeline::new(ME, history(events, false));
        let shape: Vec<_> =
            timeline.rows(|_| 0).iter().map(|row| (row.starts_day, row.starts_group)).collect();
        assert_eq!(shape, [(true, true), (true, true), (false, false)]);
        let lifetimes = Lifetimes { message: Span::seconds(60), ..Lifetimes::default() };
        let expiry = Expiry { now: Timestamp(DAY + MINUTE), lifetimes };
        assert!(timeline.has_expired(expiry));
        timeline.forget(expiry);
        assert_eq!(
            timeline.oldest(),
            Some(Seq(3)),
            "what was said before what has expired has expired as well"
        );
    }

    #[test]
    fn many_renames_in_a_row_are_one_line() {
        let name = |name: String| Nickname::parse(&name).unwrap();
        let renamed = |user, seq: u64| Event {
            kind: EventKind::Renamed {
                user,
                from: name(format!("n{}", seq - 1)),
                to: name(format!("n{seq}")),
            },
            ..posted(user, seq, seq - 1, seq)
        };
        let mut timeline = empty();
        (1..=3).for_each(|seq| assert_eq!(timeline.apply(renamed(OTHER, seq)), Applied::Appended));
        assert_eq!(timeline.first_after(Seq(1)), Some(Seq(3)), "that of the line");
        timeline.apply(renamed(ME, 4));
        timeline.apply(posted(OTHER, 5, 4, 5));
        timeline.apply(renamed(OTHER, 6));
        let rows = timeline.rows(|_| 0);
        assert_eq!(rows.len(), 4);
        let RowContent::Stored(first) = &rows[0].content else { panic!("not stored") };
        let EventKind::Renamed { from, to, .. } = &first.kind else { panic!("not renamed") };
        assert_eq!((from.as_str(), to.as_str()), ("n0", "n3"));
    }

    #[test]
    fn a_failed_message_waits_for_a_retry() {
        let mut timeline = empty();
        timeline.echo(client_id(1), body("hello"), Timestamp(5));
        timeline.fail(client_id(1), Problem::NotStored);
        assert_eq!(timeline.on_their_way().count(), 0);
        assert_eq!(timeline.rows(|_| 0).len(), 1, "it stays visible");
        assert_eq!(timeline.retry(client_id(1), Timestamp(1)).unwrap().body, body("hello"));
        assert_eq!(timeline.on_their_way().count(), 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut timeline = empty();
        for number in 0..PENDING_LIMIT as u64 {
            assert!(timeline.echo(client_id(number), body("hello"), Timestamp(5)));
        }
        assert!(!timeline.echo(client_id(999), body("one more"), Timestamp(5)));
        assert_eq!(timeline.rows(|_| 0).len(), PENDING_LIMIT);
    }

    #[test]
    fn rows_are_grouped_by_author_time_and_day() {
        let day = 24 * 60 * MINUTE;
        let mut timeline = empty();
        let mut prev = 0;
        for (author, seq, at) in [
            (OTHER, 1, day - 3 * MINUTE),
            (OTHER, 2, day - MINUTE),
            (OTHER, 3, day),
            (ME, 4, day + MINUTE),
            (ME, 5, day + 7 * MINUTE),
        ] {
            timeline.apply(posted(author, seq, prev, at));
            prev = seq;
        }
        let shape = |offset| {
            timeline.rows(|_| offset).iter().map(|row| (row.starts_day, row.starts_group)).collect::<Vec<_>>()
        };
        assert_eq!(shape(0), [(true, true), (false, false), (true, true), (false, true), (false, true)]);
        assert_eq!(shape(120), [(true, true), (false, false), (false, false), (false, true), (false, true)]);
    }

    proptest! {
        /// However events are repeated, skipped, replayed from the cursor or replaced by snapshots, what is shown is
        /// the log: in order, without a gap, without a duplicate.
        #[test]
        fn any_delivery_gives_the_same_timeline(
            count in 1_u64..40,
            picks in vec((0_usize..40, 0_u8..10), 0..200),
            snapshot_events in 1_usize..10,
        ) {
            let log = log(count);
            let mut timeline = empty();
            let after = |seq: Seq| log.iter().filter(move |event| event.seq > seq).cloned();
            for (place, how) in picks {
                match how {
                    0 => {
                        let through = place.min(log.len());
                        let events = log[through.saturating_sub(snapshot_events)..through].to_vec();
                        if through > 0 && log[through - 1].seq >= timeline.cursor().seq {
                            timeline.reset(history(events, false));
                        }
                    }
                    1 => after(timeline.cursor().seq).take(place).collect::<Vec<_>>().into_iter().for_each(|event| {
                        assert_eq!(timeline.apply(event), Applied::Appended);
                    }),
                    _ => {
                        let event = log[place % log.len()].clone();
                        if timeline.apply(event) == Applied::Gap {
                            let missed: Vec<_> = after(timeline.cursor().seq).collect();
                            for event in missed.into_iter().take(place) {
                                timeline.apply(event);
                            }
                        }
                    }
                }
                let shown: Vec<Seq> = timeline.events.iter().map(|event| event.seq).collect();
                let end = log.iter().position(|event| event.seq == timeline.seq).map_or(0, |place| place + 1);
                let expected: Vec<Seq> = log[end - shown.len()..end].iter().map(|event| event.seq).collect();
                prop_assert_eq!(shown, expected);
            }
        }

        /// Own messages that are sent, lost, retried and answered in any order end up stored once and never pending.
        #[test]
        fn every_own_message_ends_up_once(
            steps in vec((0_u64..6, 0_u8..4), 0..60),
        ) {
            let mut timeline = empty();
            let mut stored: Vec<(u64, Event)> = Vec::new();
            let mut sent = HashSet::new();
            for (number, step) in steps {
                match step {
                    0 if sent.insert(number) => {
                        timeline.echo(client_id(number), body("own"), Timestamp(number));
                    }
                    1 => timeline.fail(client_id(number), Problem::Busy),
                    2 => {
                        timeline.retry(client_id(number), Timestamp(1));
                    }
                    3 if sent.contains(&number) => {
                        // the server stores it once, and answers every retry with the first position
                        let place = stored.len() as u64 + 1;
                        if !stored.iter().any(|(known, _)| *known == number) {
                            let mut event = posted(ME, place, place - 1, place);
                            if let EventKind::Posted(message) = &mut event.kind {
                                message.client_id = client_id(number);
                            }
                            stored.push((number, event));
                        }
                    }
                    _ => {}
                }
            }
            for (_, event) in stored.clone().into_iter().chain(stored.clone()) {
                timeline.apply(event);
            }
            let rows = timeline.rows(|_| 0);
            prop_assert_eq!(rows.len(), sent.len());
            let keys: HashSet<_> = rows.iter().map(|row| row.key(ME)).collect();
            prop_assert_eq!(keys.len(), sent.len());
            let waiting = rows.iter().filter(|row| matches!(row.content, RowContent::Pending(_))).count();
            prop_assert_eq!(waiting, sent.len() - stored.len());
        }
    }
}
