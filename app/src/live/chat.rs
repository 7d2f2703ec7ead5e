//! The state of a live chat page: the timeline, the members, and what the reader posts.

mod place;

use std::sync::Arc;

use domain::{
    Body, Chat, ChatId, ClientId, Emoji, Event, EventKind, MessageTally, Problem, Roster, Seq, Timeline,
    User, UserId,
    frame::{Cursor, ServerFrame},
    page::{About, ChatPage},
    picture::PictureTicket,
    place::{Answering, Place},
    timeline::{Applied, Pending},
};
use leptos::prelude::*;

pub use self::place::{Answered, LedTo};
use super::{Connection, FrameAction, Live, Transport, mentioned::Mentioned};

use crate::reactive::{effect, memo};

/// The minimum interval between two typing signals, in milliseconds.
const TYPING_SIGNAL_MILLIS: u64 = 1_000;

/// The state of a live chat page.
#[derive(Clone, Copy)]
pub struct LiveChat {
    /// The state of the page.
    pub live: Live,
    /// The chat as it is now: its title, its owner, whether it is locked, and so on. Only its `seq` and `said_at` may be
    /// older, since messages do not change it here.
    pub chat: RwSignal<Chat>,
    /// The loaded events, and the reader's messages that wait.
    pub timeline: RwSignal<Timeline>,
    /// The members.
    pub roster: RwSignal<Roster>,
    /// The number of messages posted on this page.
    pub posted_count: RwSignal<usize>,
    /// Whether a page of history is being loaded.
    pub loading: RwSignal<bool>,
    /// Whether messages are held back for a while, since the server cannot take them at the moment.
    pub is_held: RwSignal<bool>,
    /// The user or message whose details are open. `None` if none are.
    pub about: RwSignal<Option<About>>,
    /// Whether pictures can be attached.
    pub takes_pictures: bool,
    /// The pictures that go with what is being written.
    pub attached: RwSignal<AttachedPictures>,
    /// How often the timeline was replaced by another part of the history at the reader's request.
    pub replacement_count: RwSignal<usize>,
    /// The event that the address of the page leads to. `None` if it leads to none.
    pub place: Option<Seq>,
    /// The row that the reader was led to last. Set for each time. `None` if they were led to none.
    pub led_to: RwSignal<Option<LedTo>>,
    /// The last event that the reader had seen when the page was left, if more has come since. `None` if they have seen all.
    pub resumed_at: RwSignal<Option<Seq>>,
    /// The message that what is being written answers. `None` if it answers none.
    pub answering: RwSignal<Option<Answering>>,
    reading: RwSignal<Reading>,
    /// Whom the message being written mentions, of those who were chosen from a list.
    mentioned: StoredValue<Mentioned>,
    /// When the last typing signal was sent, in milliseconds of uptime. `None` if the next keystroke sends one.
    typed_at: StoredValue<Option<u64>>,
}

/// The pictures that go with what is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachedPictures {
    /// Those that were uploaded, in order.
    pub tickets: Vec<PictureTicket>,
    /// Whether others are being uploaded, for which a message waits.
    pub are_coming: bool,
}

/// What is known of the reader's position.
#[derive(Clone, Default)]
struct Reading {
    /// Whether the newest event is in view, and the tab in the foreground.
    is_looking: bool,
    /// The part of the history that replaces the timeline when it arrives. `None` if none was requested.
    requested: Option<Requested>,
    /// Returns the first and the last event in view. `None` before the timeline is shown.
    in_view: Option<Arc<InView>>,
}

/// A part of the history that replaces the timeline when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requested {
    /// The page before or after an event.
    Page(Seq),
    /// The events around a place.
    Around(Place),
}

/// Returns the first and the last event in view. `None` before they are shown.
type InView = dyn Fn() -> Option<(Seq, Seq)> + Send + Sync;

/// A position after every event: the largest integer that is interoperable in JSON (RFC 8259, section 6).
const END: Seq = Seq((1 << 53) - 1);

impl LiveChat {
    /// Creates the state from the data the page was rendered with.
    pub fn new(page: ChatPage) -> Self {
        let ChatPage { visit, chat, mut roster, mut history, takes_pictures, about, .. } = page;
        let ChatPage { place, answering, notice, later, .. } = page;
        roster.name(&visit.me);
        if later && place.is_none() {
            // A page of earlier messages: those that follow are sent, and so have to be all reactions to them.
            history.reacted = history.reacted.min(history.seq);
        }
        let mut timeline = Timeline::new(visit.me.id, history);
        timeline.set_hidden(visit.hidden.iter().copied());
        let live = Live::new(visit);
        live.notice.set(notice);
        Self {
            timeline: RwSignal::new(timeline),
            live,
            chat: RwSignal::new(chat),
            roster: RwSignal::new(roster),
            posted_count: RwSignal::new(0),
            takes_pictures,
            attached: RwSignal::new(AttachedPictures::default()),
            loading: RwSignal::new(false),
            is_held: RwSignal::new(false),
            about: RwSignal::new(about),
            replacement_count: RwSignal::new(0),
            place,
            led_to: RwSignal::new(None),
            resumed_at: RwSignal::new(None),
            answering: RwSignal::new(answering),
            reading: RwSignal::new(Reading::default()),
            mentioned: StoredValue::new(Mentioned::default()),
            typed_at: StoredValue::new(None),
        }
    }

    /// Returns the chat of the page around the current view.
    ///
    /// # Panics
    /// Panics outside of the chat page, which provides it.
    pub fn from_context() -> Self {
        expect_context()
    }

    /// Returns the id of the chat.
    pub fn chat_id(self) -> ChatId {
        self.chat.with_untracked(|chat| chat.id)
    }

    /// Returns the cursor to resume from.
    pub fn cursor(self) -> Cursor {
        self.timeline.with_untracked(Timeline::cursor)
    }

    /// Applies a frame about this chat.
    pub(super) fn receive(self, frame: ServerFrame) -> FrameAction {
        match frame {
            ServerFrame::Snapshot { chat, history } => {
                self.chat.set(chat);
                self.update_timeline(|timeline| timeline.reset(history));
                self.live.connection.set(Connection::Connected);
                self.request_news();
                FrameAction::Continue
            }
            ServerFrame::Resumed { .. } => {
                self.live.connection.set(Connection::Connected);
                self.request_news();
                FrameAction::Continue
            }
            ServerFrame::Event(event) => {
                let mut applied = Applied::Known;
                self.update_timeline(|timeline| applied = timeline.apply(event.clone()));
                match applied {
                    Applied::Gap => FrameAction::Resubscribe,
                    Applied::Known => FrameAction::Continue,
                    Applied::Appended => {
                        self.apply_own_rename(&event.kind);
                        if event.kind.message().is_none()
                            && let Some(chat) = event.apply_to(Some(self.chat.get_untracked()))
                        {
                            self.chat.set(chat);
                        }
                        FrameAction::Continue
                    }
                }
            }
            ServerFrame::Beat(reached) => {
                let sent = reached.iter().find(|reached| reached.chat == self.chat_id());
                let is_behind = sent.is_some_and(|sent| sent.seq > self.cursor().seq);
                if is_behind { FrameAction::Resubscribe } else { FrameAction::Continue }
            }
            ServerFrame::Earlier { before, events, earlier, reactions, .. } => {
                if self.take_page_request(Requested::Page(before)) {
                    self.replace_timeline(events, earlier, reactions);
                } else {
                    self.update_timeline(|timeline| {
                        timeline.prepend(before, events, earlier);
                        timeline.add_reactions(reactions);
                    });
                }
                self.end_loading();
                FrameAction::Continue
            }
            ServerFrame::Later { after, events, reactions, .. } => {
                if self.take_page_request(Requested::Page(after)) {
                    // There are earlier events, unless they have expired since. In that case a request for them returns
                    // none.
                    self.replace_timeline(events, true, reactions);
                } else {
                    self.update_timeline(|timeline| {
                        timeline.append(after, events);
                        timeline.add_reactions(reactions);
                    });
                }
                self.end_loading();
                FrameAction::Continue
            }
            ServerFrame::Around(around) => {
                self.receive_around(around);
                FrameAction::Continue
            }
            ServerFrame::News(news) => {
                self.receive_news(&news);
                FrameAction::Continue
            }
            ServerFrame::Reactions { reacted, changes, .. } => {
                self.timeline.maybe_update(|timeline| timeline.apply_reactions(reacted, changes));
                FrameAction::Continue
            }
            ServerFrame::Roster { roster, .. } => {
                self.roster.set(roster);
                self.sync_own_nickname();
                FrameAction::Continue
            }
            ServerFrame::RosterChange { change, .. } => {
                self.roster.update(|roster| roster.apply(change));
                self.sync_own_nickname();
                FrameAction::Continue
            }
            ServerFrame::Refused { chat: Some(_), problem, .. } if problem.is_passing() => {
                FrameAction::Reconnect
            }
            ServerFrame::Refused { chat: Some(_), problem, .. } => self.end(problem),
            _ => FrameAction::Continue,
        }
    }

    /// Changes the timeline, then unloads events that are far from what is read.
    fn update_timeline(self, change: impl FnOnce(&mut Timeline)) {
        let Reading { is_looking, in_view, .. } = self.reading.get_untracked();
        self.timeline.update(|timeline| {
            change(timeline);
            if is_looking {
                timeline.mark_seen();
            }
            timeline.unload_distant(|| in_view?());
        });
    }

    /// Records whether the reader is looking at the newest event.
    pub fn set_looking(self, is_looking: bool) {
        self.reading.update(|reading| reading.is_looking = is_looking);
        if is_looking && self.timeline.with_untracked(|timeline| timeline.seen() != timeline.cursor().seq) {
            self.timeline.update(Timeline::mark_seen);
        }
    }

    /// Sets the function that returns the first and the last event in view.
    pub fn set_in_view(self, in_view: impl Fn() -> Option<(Seq, Seq)> + Send + Sync + 'static) {
        self.reading.update(|reading| reading.in_view = Some(Arc::new(in_view)));
    }

    /// Whether a part of the history is the one that replaces the timeline. Clears the request if so.
    fn take_page_request(self, part: Requested) -> bool {
        let is_requested = self.reading.with_untracked(|reading| reading.requested == Some(part));
        if is_requested {
            self.reading.update(|reading| reading.requested = None);
        }
        is_requested
    }

    fn replace_timeline(self, events: Vec<Event>, earlier: bool, reactions: Vec<MessageTally>) {
        self.timeline.update(|timeline| {
            timeline.replace_with_page(events, earlier);
            timeline.add_reactions(reactions);
        });
        self.replacement_count.update(|count| *count += 1);
    }

    /// Ends the loading of a page of history, with the next animation frame: no other page is requested before it is
    /// shown.
    fn end_loading(self) {
        let _ = request_animation_frame(move || self.loading.set(false));
    }

    /// Applies a rename of the reader. In a large chat the roster may not name the reader, so the event is used as
    /// well.
    fn apply_own_rename(self, kind: &EventKind) {
        if let EventKind::Renamed { user, to, .. } = kind
            && self.live.me.with_untracked(|me| me.id == *user && me.nickname != *to)
        {
            self.live.me.update(|me| me.nickname = to.clone());
        }
    }

    /// Updates the reader's nickname from the roster: it may have been changed in another tab.
    fn sync_own_nickname(self) {
        let me = self.live.me.get_untracked();
        let seen = self.roster.with_untracked(|roster| {
            roster.members.iter().find(|member| member.id == me.id).map(|member| member.nickname.clone())
        });
        if let Some(nickname) = seen.filter(|nickname| *nickname != me.nickname) {
            self.live.me.set(User { nickname, ..me });
        }
    }

    /// Applies a fresh copy of the page, got by polling: its new events, or the whole page if events between are
    /// missing.
    pub(super) fn refresh(self, page: ChatPage) {
        let ChatPage { visit, chat, mut roster, history, .. } = page;
        roster.name(&visit.me);
        self.chat.set(chat);
        self.roster.set(roster);
        self.update_timeline(|timeline| {
            let is_same_log = timeline.cursor().epoch == history.epoch;
            let follows = |event: Event| timeline.apply(event) != Applied::Gap;
            if !is_same_log || !history.events.iter().cloned().all(follows) {
                timeline.reset(history);
            } else {
                timeline.replace_reactions(&history);
            }
        });
    }

    /// Records that the reader reacts to a message with an emoji or does so no more, as of a position of the log: others see
    /// it with the next change that is sent.
    pub fn set_reaction(self, message: Seq, emoji: Emoji, is_on: bool, at: Seq) {
        let me = self.live.me.get_untracked();
        self.timeline.maybe_update(|timeline| timeline.set_reaction(&me, message, emoji, is_on, at));
    }

    /// Clears the typing state of all members.
    pub fn clear_typing(self) {
        if self.roster.with_untracked(|roster| roster.members.iter().any(|member| member.typing)) {
            self.roster.update(|roster| roster.members.iter_mut().for_each(|member| member.typing = false));
        }
    }

    /// Whether any of the reader's own messages are not stored yet.
    pub fn has_waiting(self) -> bool {
        self.timeline.with_untracked(|timeline| !timeline.pending().is_empty())
    }

    /// Replaces the set of users whose messages are not shown.
    pub(super) fn set_hidden(self, hidden: Vec<UserId>) {
        self.timeline.update(|timeline| timeline.set_hidden(hidden));
    }

    /// Returns why the reader cannot post in this chat at the moment. `None` if they can.
    pub fn post_block(self) -> Option<Problem> {
        let me = self.live.me.with(|me| me.id);
        self.chat.with(|chat| chat.check_can_post(me)).err()
    }

    /// Changes the reader, after the browser's session changed.
    pub(super) fn set_reader(self, me: UserId) {
        self.timeline.update(|timeline| timeline.set_reader(me));
    }

    /// Restores the messages that were waiting when the page was left, and saves those that wait from now on.
    pub(super) fn persist_waiting(self, transport: Arc<dyn Transport>) {
        let saved = transport.saved_waiting();
        if !saved.is_empty() {
            self.timeline.update(|timeline| timeline.restore(saved));
        }
        let waiting = memo(move || self.timeline.with(|timeline| timeline.pending().to_vec()));
        effect(move || waiting.with(|waiting| transport.save_waiting(waiting)));
    }

    /// Drops expired events from the timeline.
    pub(super) fn drop_expired(self) {
        let expiry = self.live.expiry();
        if self.timeline.with_untracked(|timeline| timeline.has_expired(expiry)) {
            self.timeline.update(|timeline| timeline.drop_expired(expiry));
        }
    }

    pub(super) fn end(self, problem: Problem) -> FrameAction {
        // The page was shown, so the chat existed.
        let problem = if problem == Problem::UnknownChat { Problem::ChatEnded } else { problem };
        self.roster.set(Roster::default());
        self.live.ended.set(Some(problem));
        self.live.connection.set(Connection::Ended);
        let waiting: Vec<ClientId> = self.outgoing().iter().map(|pending| pending.client_id).collect();
        waiting.into_iter().for_each(|client_id| self.mark_refused(client_id, problem));
        FrameAction::Close
    }

    /// Records that an own message is stored.
    pub fn mark_stored(self, client_id: ClientId, seq: Seq) {
        self.timeline.update(|timeline| timeline.mark_stored(client_id, seq));
    }

    /// Records that an own message was refused.
    pub fn mark_refused(self, client_id: ClientId, problem: Problem) {
        self.timeline.update(|timeline| timeline.mark_refused(client_id, problem));
    }

    /// Retries the messages that were refused because of the state of the connection. Messages that may have been
    /// posted already and expired since are held back.
    pub fn retry_transient(self) {
        let expiry = self.live.expiry();
        if self.timeline.with_untracked(|timeline| timeline.outgoing().any(|own| expiry.of_event(own.at))) {
            self.timeline.update(|timeline| timeline.hold_back_old(expiry));
        }
        let has_refused = |pending: &Pending| pending.problem.is_some_and(Problem::is_of_connection);
        if self.timeline.with_untracked(|timeline| timeline.pending().iter().any(has_refused)) {
            self.timeline.update(Timeline::retry_transient);
        }
    }

    /// Returns the own messages being sent, oldest first: those to send again after a reconnect.
    pub fn outgoing(self) -> Vec<Pending> {
        self.timeline.with_untracked(|timeline| timeline.outgoing().cloned().collect())
    }

    /// Sends a typing signal, at most once a second.
    pub fn send_typing(self) {
        let Some(transport) = self.live.transport() else { return };
        let now = transport.uptime_millis();
        if self.typed_at.get_value().is_none_or(|then| now.saturating_sub(then) >= TYPING_SIGNAL_MILLIS) {
            self.typed_at.set_value(Some(now));
            transport.send_typing();
        }
    }

    /// Requests the page of history before the oldest event loaded. Returns true if it is on its way or another page is
    /// being loaded; false if there is none or it cannot be requested, so that the link has to be followed.
    pub fn load_earlier(self) -> bool {
        if self.loading.get_untracked() {
            return true;
        }
        let oldest =
            self.timeline.with_untracked(|timeline| timeline.oldest().filter(|_| timeline.has_earlier()));
        let asked = oldest
            .zip(self.live.transport())
            .is_some_and(|(oldest, transport)| transport.request_earlier(oldest));
        self.loading.set(asked);
        asked
    }

    /// Requests the page of history after the newest event loaded. Returns true if it is on its way or another page is
    /// being loaded; false if the newest events are loaded or it cannot be requested, so that the link has to be
    /// followed.
    pub fn load_later(self) -> bool {
        if self.loading.get_untracked() {
            return true;
        }
        let (has_later, newest) =
            self.timeline.with_untracked(|timeline| (timeline.has_later(), timeline.newest()));
        let Some(newest) = newest else { return self.request_newest() };
        let asked =
            has_later && self.live.transport().is_some_and(|transport| transport.request_later(newest));
        self.loading.set(asked);
        asked
    }

    /// Requests the newest events, to replace the timeline. Returns false if they are loaded already or cannot be
    /// requested.
    pub fn request_newest(self) -> bool {
        self.timeline.with_untracked(Timeline::has_later)
            && self.request_replacement(Requested::Page(END), |transport| transport.request_earlier(END))
    }

    /// Requests the events after a position, to replace the timeline. Returns false if they cannot be requested.
    pub fn request_after(self, after: Seq) -> bool {
        self.request_replacement(Requested::Page(after), |transport| transport.request_later(after))
    }

    fn request_replacement(self, part: Requested, request: impl FnOnce(&dyn Transport) -> bool) -> bool {
        let asked = self.live.transport().is_some_and(|transport| request(&*transport));
        if asked {
            self.reading.update(|reading| reading.requested = Some(part));
            self.loading.set(true);
        }
        asked
    }

    /// Remembers that `@` and this name, in the message being written, mean this user.
    pub fn mention(self, user: UserId, name: &str) {
        self.mentioned.update_value(|mentioned| mentioned.add(user, name));
    }

    /// Posts a message with what is attached, or with `is_action` what the reader does: it is shown at once, and sent as
    /// soon as possible.
    ///
    /// # Errors
    /// [`Problem::TooManyWaiting`] if too many messages wait, or [`Problem::NotConnected`] if the page is not hydrated.
    /// In both cases the text has to stay in the composer.
    pub fn post(self, body: Body, is_action: bool) -> Result<(), Problem> {
        let Some(transport) = self.live.transport() else { return Err(Problem::NotConnected) };
        let (client_id, at) = (transport.client_id(), self.live.server_time());
        let mentions = self.mentioned.with_value(|mentioned| mentioned.of(body.as_str()));
        let pictures = self.attached.with_untracked(|attached| attached.tickets.clone());
        let reply_to = self.reply_to();
        let mut shown = false;
        self.timeline.update(|timeline| {
            shown = timeline.echo(client_id, body, at);
            if let Some(pending) = timeline.pending_mut(client_id).filter(|_| shown) {
                pending.mentions = mentions;
                pending.reply_to = reply_to;
                pending.pictures = pictures;
                pending.is_action = is_action;
            }
        });
        if !shown {
            return Err(Problem::TooManyWaiting);
        }
        self.mentioned.set_value(Mentioned::default());
        self.cancel_reply();
        self.attached.set(AttachedPictures::default());
        self.posted_count.update(|count| *count += 1);
        // The next keystroke sends a typing signal at once.
        self.typed_at.set_value(None);
        match self.live.ended.get_untracked() {
            Some(problem) => self.mark_refused(client_id, problem),
            None => self.send(client_id),
        }
        Ok(())
    }

    /// Discards an own message that is not stored, and returns it. `None` if it is stored by now.
    pub fn discard(self, client_id: ClientId) -> Option<Pending> {
        let mut discarded = None;
        self.timeline.update(|timeline| discarded = timeline.discard(client_id));
        discarded
    }

    /// Retries a message under the same id.
    pub fn retry(self, client_id: ClientId) {
        if let Some(problem) = self.live.ended.get_untracked() {
            return self.mark_refused(client_id, problem);
        }
        self.send(client_id);
        if let Some(transport) = self.live.transport() {
            transport.reconnect_now();
        }
    }

    fn send(self, client_id: ClientId) {
        let mut message = None;
        let now = self.live.server_time();
        self.timeline.update(|timeline| message = timeline.retry(client_id, now));
        if let (Some(transport), Some(message)) = (self.live.transport(), message) {
            transport.send(&message);
        }
    }
}
