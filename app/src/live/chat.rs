//! A live chat: what was said, who is there, and what the reader says.

use std::sync::Arc;

use domain::{
    Body, Chat, ChatId, ClientId, Event, EventKind, Problem, Roster, Seq, Timeline, User, UserId,
    frame::{Cursor, ServerFrame},
    page::{About, ChatPage},
    timeline::{Applied, Pending},
};
use leptos::prelude::*;

use super::{Connection, FrameAction, Live, Transport};

/// How often the others are told that somebody is typing.
const TYPING_SIGNAL_MILLIS: u64 = 1_000;

/// A chat as one reader sees it, alive.
#[derive(Clone, Copy)]
pub struct LiveChat {
    /// The page it is on.
    pub live: Live,
    /// What.
    pub chat: RwSignal<Chat>,
    /// What was said.
    pub timeline: RwSignal<Timeline>,
    /// Who is there.
    pub roster: RwSignal<Roster>,
    /// How many messages were said on this page.
    pub posted: RwSignal<usize>,
    /// Whether earlier events are on their way.
    pub loading: RwSignal<bool>,
    /// Whether what was said waits for a while, since it was too much at once.
    pub is_held: RwSignal<bool>,
    /// About whom or what more is shown.
    pub about: RwSignal<Option<About>>,
    /// How often the reader was led to another part of the chat, whose page has come.
    pub turned: RwSignal<usize>,
    reading: RwSignal<Reading>,
    /// When the others were last told that the reader is typing, in milliseconds since the page was loaded.
    typed_at: StoredValue<Option<u64>>,
}

/// What is known of what the reader does.
#[derive(Clone, Default)]
struct Reading {
    /// Whether they look at the newest.
    is_looking: bool,
    /// Before or after which event a page was asked for to go on reading there.
    turns_at: Option<Seq>,
    /// Gives the first and the last event that are in view.
    in_view: Option<Arc<dyn Fn() -> (Seq, Seq) + Send + Sync>>,
}

/// Before this is everything: the largest number that every client can write (RFC 8259, section 6).
const END: Seq = Seq((1 << 53) - 1);

impl LiveChat {
    /// A chat as its page arrived.
    pub fn new(page: ChatPage) -> Self {
        let ChatPage { visit, chat, mut roster, history, about, .. } = page;
        roster.name(&visit.me);
        let mut timeline = Timeline::new(visit.me.id, history);
        timeline.hide(visit.hidden.iter().copied());
        Self {
            timeline: RwSignal::new(timeline),
            live: Live::new(visit),
            chat: RwSignal::new(chat),
            roster: RwSignal::new(roster),
            posted: RwSignal::new(0),
            loading: RwSignal::new(false),
            is_held: RwSignal::new(false),
            about: RwSignal::new(about),
            turned: RwSignal::new(0),
            reading: RwSignal::new(Reading::default()),
            typed_at: StoredValue::new(None),
        }
    }

    /// The live chat of the page around a view.
    ///
    /// # Panics
    /// Outside of the chat page, which provides it.
    pub fn here() -> Self {
        expect_context()
    }

    /// Which chat.
    pub fn chat_id(self) -> ChatId {
        self.chat.with_untracked(|chat| chat.id)
    }

    /// Where to go on from.
    pub fn cursor(self) -> Cursor {
        self.timeline.with_untracked(Timeline::cursor)
    }

    /// Takes in a frame about this chat.
    pub(super) fn receive(self, frame: ServerFrame) -> FrameAction {
        match frame {
            ServerFrame::Snapshot { chat, history } => {
                self.chat.set(chat);
                self.change(|timeline| timeline.reset(history));
                self.live.connection.set(Connection::Connected);
                FrameAction::Continue
            }
            ServerFrame::Resumed { .. } => {
                self.live.connection.set(Connection::Connected);
                FrameAction::Continue
            }
            ServerFrame::Event(event) => {
                let mut applied = Applied::Known;
                self.change(|timeline| applied = timeline.apply(event.clone()));
                match applied {
                    Applied::Gap => FrameAction::Resubscribe,
                    Applied::Known => FrameAction::Continue,
                    Applied::Appended => {
                        self.follow_rename(&event.kind);
                        if !matches!(event.kind, EventKind::Posted(_))
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
            ServerFrame::Earlier { before, events, earlier, .. } => {
                if self.has_turned(before) {
                    self.turn_to(events, earlier);
                } else {
                    self.change(|timeline| timeline.prepend(before, events, earlier));
                }
                self.loaded();
                FrameAction::Continue
            }
            ServerFrame::Later { after, events, .. } => {
                if self.has_turned(after) {
                    // there was something before what was let go, or there is nothing before it when it is looked for
                    self.turn_to(events, true);
                } else {
                    self.change(|timeline| timeline.append(after, events));
                }
                self.loaded();
                FrameAction::Continue
            }
            ServerFrame::Roster { roster, .. } => {
                self.roster.set(roster);
                self.follow_me();
                FrameAction::Continue
            }
            ServerFrame::RosterChange { change, .. } => {
                self.roster.update(|roster| roster.apply(change));
                self.follow_me();
                FrameAction::Continue
            }
            ServerFrame::Refused { chat: Some(_), problem, .. } if problem.is_passing() => {
                FrameAction::Reconnect
            }
            ServerFrame::Refused { chat: Some(_), problem, .. } => self.end(problem),
            _ => FrameAction::Continue,
        }
    }

    /// Changes the timeline, and lets go what is far from what is read.
    fn change(self, change: impl FnOnce(&mut Timeline)) {
        let Reading { is_looking, in_view, .. } = self.reading.get_untracked();
        self.timeline.update(|timeline| {
            change(timeline);
            if is_looking {
                timeline.see();
            }
            timeline.let_go(|| in_view.map_or((END, END), |in_view| in_view()));
        });
    }

    /// The reader looks at the newest from now on, or does not.
    pub fn look(self, is_looking: bool) {
        self.reading.update(|reading| reading.is_looking = is_looking);
        if is_looking && self.timeline.with_untracked(|timeline| timeline.seen() != timeline.cursor().seq) {
            self.timeline.update(Timeline::see);
        }
    }

    /// What is in view is told by this from now on: the first and the last event of it.
    pub fn show_by(self, in_view: impl Fn() -> (Seq, Seq) + Send + Sync + 'static) {
        self.reading.update(|reading| reading.in_view = Some(Arc::new(in_view)));
    }

    /// Whether the page of history at this event is the one to go on reading in.
    fn has_turned(self, at: Seq) -> bool {
        let is_it = self.reading.with_untracked(|reading| reading.turns_at == Some(at));
        if is_it {
            self.reading.update(|reading| reading.turns_at = None);
        }
        is_it
    }

    fn turn_to(self, events: Vec<Event>, earlier: bool) {
        self.timeline.update(|timeline| timeline.turn_to(events, earlier));
        self.turned.update(|turned| *turned += 1);
    }

    /// A page of history is here. Until it is shown, which is with the next frame, no other is asked for.
    fn loaded(self) {
        let _ = request_animation_frame(move || self.loading.set(false));
    }

    /// In a large room one may not be named in the roster, and is called differently all the same.
    fn follow_rename(self, kind: &EventKind) {
        if let EventKind::Renamed { user, to, .. } = kind
            && self.live.me.with_untracked(|me| me.id == *user && me.nickname != *to)
        {
            self.live.me.update(|me| me.nickname = to.clone());
        }
    }

    /// What one is called follows what others see, whichever tab it was changed in.
    fn follow_me(self) {
        let me = self.live.me.get_untracked();
        let seen = self.roster.with_untracked(|roster| {
            roster.members.iter().find(|member| member.id == me.id).map(|member| member.nickname.clone())
        });
        if let Some(nickname) = seen.filter(|nickname| *nickname != me.nickname) {
            self.live.me.set(User { nickname, ..me });
        }
    }

    /// Takes in the chat as it is now, asked for by an ordinary request: what is new of it, or all where something between is
    /// missing.
    pub(super) fn refresh(self, page: ChatPage) {
        let ChatPage { visit, chat, mut roster, history, .. } = page;
        roster.name(&visit.me);
        self.chat.set(chat);
        self.roster.set(roster);
        self.change(|timeline| {
            let is_same_log = timeline.cursor().epoch == history.epoch;
            let follows = |event: Event| timeline.apply(event) != Applied::Gap;
            if !is_same_log || !history.events.iter().cloned().all(follows) {
                timeline.reset(history);
            }
        });
    }

    /// Nobody is known to type any more.
    pub fn nobody_types(self) {
        if self.roster.with_untracked(|roster| roster.members.iter().any(|member| member.typing)) {
            self.roster.update(|roster| roster.members.iter_mut().for_each(|member| member.typing = false));
        }
    }

    /// Whether own messages are not stored yet.
    pub fn has_waiting(self) -> bool {
        self.timeline.with_untracked(|timeline| !timeline.pending().is_empty())
    }

    /// What these people say is not shown from now on.
    pub(super) fn hide(self, hidden: Vec<UserId>) {
        self.timeline.update(|timeline| timeline.hide(hidden));
    }

    /// Why the reader cannot write here just now, where they cannot.
    pub fn post_block(self) -> Option<Problem> {
        let me = self.live.me.with(|me| me.id);
        self.chat.with(|chat| chat.check_can_post(me)).err()
    }

    /// Somebody else reads from now on.
    pub(super) fn read_by(self, me: UserId) {
        self.timeline.update(|timeline| timeline.read_by(me));
    }

    /// What waits to be stored outlives the page: what waited before it was loaded anew waits again.
    pub(super) fn keep_waiting(self, transport: Arc<dyn Transport>) {
        let kept = transport.waiting();
        if !kept.is_empty() {
            self.timeline.update(|timeline| timeline.restore(kept));
        }
        let waiting = Memo::new(move |_| self.timeline.with(|timeline| timeline.pending().to_vec()));
        Effect::new(move |_| waiting.with(|waiting| transport.keep_waiting(waiting)));
    }

    /// What has expired is shown no longer.
    pub(super) fn forget(self) {
        let expiry = self.live.expiry();
        if self.timeline.with_untracked(|timeline| timeline.has_expired(expiry)) {
            self.timeline.update(|timeline| timeline.forget(expiry));
        }
    }

    pub(super) fn end(self, problem: Problem) -> FrameAction {
        // whoever has it before them knows that there was one
        let problem = if problem == Problem::UnknownChat { Problem::ChatEnded } else { problem };
        self.roster.set(Roster::default());
        self.live.ended.set(Some(problem));
        self.live.connection.set(Connection::Ended);
        let waiting: Vec<ClientId> = self.on_their_way().iter().map(|pending| pending.client_id).collect();
        waiting.into_iter().for_each(|client_id| self.refused(client_id, problem));
        FrameAction::Close
    }

    /// An own message is on disk.
    pub fn stored(self, client_id: ClientId, seq: Seq) {
        self.timeline.update(|timeline| timeline.stored(client_id, seq));
    }

    /// An own message was not taken.
    pub fn refused(self, client_id: ClientId, problem: Problem) {
        self.timeline.update(|timeline| timeline.fail(client_id, problem));
    }

    /// What was refused only for how it stood with the connection is on its way again, but for what may have been said already.
    pub fn retry_transient(self) {
        let expiry = self.live.expiry();
        if self.timeline.with_untracked(|timeline| timeline.on_their_way().any(|own| expiry.of_event(own.at)))
        {
            self.timeline.update(|timeline| timeline.hold_back_old(expiry));
        }
        let has_refused = |pending: &Pending| pending.problem.is_some_and(Problem::is_of_connection);
        if self.timeline.with_untracked(|timeline| timeline.pending().iter().any(has_refused)) {
            self.timeline.update(Timeline::retry_transient);
        }
    }

    /// Own messages to send when there is a connection, oldest first.
    pub fn on_their_way(self) -> Vec<Pending> {
        self.timeline.with_untracked(|timeline| timeline.on_their_way().cloned().collect())
    }

    /// The reader typed something. The others are told so once a second at most.
    pub fn typing(self) {
        let Some(transport) = self.live.transport() else { return };
        let now = transport.uptime_millis();
        if self.typed_at.get_value().is_none_or(|then| now.saturating_sub(then) >= TYPING_SIGNAL_MILLIS) {
            self.typed_at.set_value(Some(now));
            transport.typing();
        }
    }

    /// Asks for the page of history before the oldest event here, if there is one and it is not on its way. False
    /// where the page has to be loaded anew for it.
    pub fn load_earlier(self) -> bool {
        if self.loading.get_untracked() {
            return true;
        }
        let oldest =
            self.timeline.with_untracked(|timeline| timeline.oldest().filter(|_| timeline.has_earlier()));
        let asked =
            oldest.zip(self.live.transport()).is_some_and(|(oldest, transport)| transport.earlier(oldest));
        self.loading.set(asked);
        asked
    }

    /// Asks for the page of history after the newest event here, if that is not the newest there is and no page is on its
    /// way. False where the page has to be loaded anew for it.
    pub fn load_later(self) -> bool {
        if self.loading.get_untracked() {
            return true;
        }
        let (has_later, newest) =
            self.timeline.with_untracked(|timeline| (timeline.has_later(), timeline.newest()));
        let Some(newest) = newest else { return self.turn_to_newest() };
        let asked = has_later && self.live.transport().is_some_and(|transport| transport.later(newest));
        self.loading.set(asked);
        asked
    }

    /// Asks for the newest events, where they are not here, to go on reading there. False where they are, or cannot be
    /// asked for.
    pub fn turn_to_newest(self) -> bool {
        self.timeline.with_untracked(Timeline::has_later)
            && self.turns(END, |transport| transport.earlier(END))
    }

    /// Asks for what came after an event, to go on reading there. False where it cannot be asked for.
    pub fn turn_to_after(self, after: Seq) -> bool {
        self.turns(after, |transport| transport.later(after))
    }

    fn turns(self, at: Seq, ask: impl FnOnce(&dyn Transport) -> bool) -> bool {
        let asked = self.live.transport().is_some_and(|transport| ask(&*transport));
        if asked {
            self.reading.update(|reading| reading.turns_at = Some(at));
            self.loading.set(true);
        }
        asked
    }

    /// Says something: shown at once, sent as soon as possible.
    ///
    /// # Errors
    /// Why it stays in the composer: [`Problem::TooManyWaiting`], or [`Problem::NotConnected`] before the page is alive.
    pub fn post(self, body: Body) -> Result<(), Problem> {
        let Some(transport) = self.live.transport() else { return Err(Problem::NotConnected) };
        let (client_id, at) = (transport.client_id(), self.live.server_time());
        let mut shown = false;
        self.timeline.update(|timeline| shown = timeline.echo(client_id, body, at));
        if !shown {
            return Err(Problem::TooManyWaiting);
        }
        self.posted.update(|posted| *posted += 1);
        // what is typed next is worth telling at once
        self.typed_at.set_value(None);
        match self.live.ended.get_untracked() {
            Some(problem) => self.refused(client_id, problem),
            None => self.send(client_id),
        }
        Ok(())
    }

    /// Gives up an own message that is not stored. Gives what it says; `None` where it is stored by now.
    pub fn discard(self, client_id: ClientId) -> Option<Body> {
        let mut body = None;
        self.timeline.update(|timeline| body = timeline.discard(client_id));
        body
    }

    /// Tries a message again, under the same id.
    pub fn retry(self, client_id: ClientId) {
        if let Some(problem) = self.live.ended.get_untracked() {
            return self.refused(client_id, problem);
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
