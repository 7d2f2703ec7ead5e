//! A live chat: what was said, who is there, and what the reader says.

use std::sync::Arc;

use domain::{
    Body, Chat, ChatId, ClientId, Event, Problem, Roster, Seq, Timeline, User, UserId, What,
    frame::{Cursor, ServerFrame},
    page::{About, ChatPage},
    timeline::{Applied, Pending},
};
use leptos::prelude::{GetValue, SetValue, StoredValue, expect_context, request_animation_frame};

use crate::state::{Derived, State, effect};

use super::{Connection, Courier, Live, Next};

/// How often the others are told that somebody is typing.
const TYPING_SIGNAL_MILLIS: u64 = 1_000;

/// A chat as one reader sees it, alive.
#[derive(Clone, Copy)]
pub struct LiveChat {
    /// The page it is on.
    pub live: Live,
    /// What.
    pub chat: State<Chat>,
    /// What was said.
    pub timeline: State<Timeline>,
    /// Who is there.
    pub roster: State<Roster>,
    /// How many messages were said on this page.
    pub posted: State<usize>,
    /// Whether earlier events are on their way.
    pub loading: State<bool>,
    /// Whether what was said waits for a while, since it was too much at once.
    pub is_held: State<bool>,
    /// About whom or what more is shown.
    pub about: State<Option<About>>,
    /// When the others were last told that the reader is typing, in milliseconds since the page was loaded.
    typed_at: StoredValue<Option<u64>>,
}

impl LiveChat {
    /// A chat as its page arrived.
    pub fn new(page: ChatPage) -> Self {
        let ChatPage { visit, chat, mut roster, history, about, .. } = page;
        roster.name(&visit.me);
        let mut timeline = Timeline::new(visit.me.id, history);
        timeline.hide(visit.hidden.iter().copied());
        Self {
            timeline: State::new(timeline),
            live: Live::new(visit),
            chat: State::new(chat),
            roster: State::new(roster),
            posted: State::new(0),
            loading: State::new(false),
            is_held: State::new(false),
            about: State::new(about),
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
    pub(super) fn receive(self, frame: ServerFrame) -> Next {
        match frame {
            ServerFrame::Snapshot { chat, history } => {
                self.chat.set(chat);
                self.timeline.update(|timeline| timeline.reset(history));
                self.live.connection.set(Connection::Connected);
                Next::GoOn
            }
            ServerFrame::Resumed { .. } => {
                self.live.connection.set(Connection::Connected);
                Next::GoOn
            }
            ServerFrame::Event(event) => {
                let mut applied = Applied::Known;
                self.timeline.update(|timeline| applied = timeline.apply(event.clone()));
                match applied {
                    Applied::Hole => Next::WatchAgain,
                    Applied::Known => Next::GoOn,
                    Applied::Appended => {
                        self.follow_rename(&event.what);
                        if !matches!(event.what, What::Posted(_))
                            && let Some(chat) = event.apply_to(Some(self.chat.get_untracked()))
                        {
                            self.chat.set(chat);
                        }
                        Next::GoOn
                    }
                }
            }
            ServerFrame::Beat(reached) => {
                let sent = reached.iter().find(|reached| reached.chat == self.chat_id());
                let is_behind = sent.is_some_and(|sent| sent.seq > self.cursor().seq);
                if is_behind { Next::WatchAgain } else { Next::GoOn }
            }
            ServerFrame::Earlier { before, events, earlier, .. } => {
                self.timeline.update(|timeline| timeline.prepend(before, events, earlier));
                // The browser is to lay out what came before it looks after the reader's place again: counted from the
                // bottom, that stays by itself. The first frame from now on begins before that, the second after it.
                let laid_out = move || self.loading.set(false);
                let _ = request_animation_frame(move || {
                    let _ = request_animation_frame(laid_out);
                });
                Next::GoOn
            }
            ServerFrame::Roster { roster, .. } => {
                self.roster.set(roster);
                self.follow_me();
                Next::GoOn
            }
            ServerFrame::RosterChange { change, .. } => {
                self.roster.update(|roster| roster.apply(change));
                self.follow_me();
                Next::GoOn
            }
            ServerFrame::Refused { chat: Some(_), problem, .. } if problem.is_passing() => Next::ComeBack,
            ServerFrame::Refused { chat: Some(_), problem, .. } => self.end(problem),
            _ => Next::GoOn,
        }
    }

    /// In a large room one may not be named in the roster, and is called differently all the same.
    fn follow_rename(self, what: &What) {
        if let What::Renamed { user, to, .. } = what
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
        self.timeline.update(|timeline| {
            let is_same_log = timeline.cursor().epoch == history.epoch;
            let follows = |event: Event| timeline.apply(event) != Applied::Hole;
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
    pub fn keeps_silent(self) -> Option<Problem> {
        let me = self.live.me.with(|me| me.id);
        self.chat.with(|chat| chat.lets_write(me)).err()
    }

    /// Somebody else reads from now on.
    pub(super) fn read_by(self, me: UserId) {
        self.timeline.update(|timeline| timeline.read_by(me));
    }

    /// What waits to be stored outlives the page: what waited before it was loaded anew waits again.
    pub(super) fn keep_waiting(self, courier: Arc<dyn Courier>) {
        let kept = courier.waiting();
        if !kept.is_empty() {
            self.timeline.update(|timeline| timeline.restore(kept));
        }
        let waiting = Derived::new(move |_| self.timeline.with(|timeline| timeline.pending().to_vec()));
        effect(move || waiting.with(|waiting| courier.keep_waiting(waiting)));
    }

    /// What has expired is shown no longer.
    pub(super) fn forget(self) {
        let expiry = self.live.expiry();
        if self.timeline.with_untracked(|timeline| timeline.has_expired(expiry)) {
            self.timeline.update(|timeline| timeline.forget(expiry));
        }
    }

    pub(super) fn end(self, problem: Problem) -> Next {
        // whoever has it before them knows that there was one
        let problem = if problem == Problem::UnknownChat { Problem::ChatEnded } else { problem };
        self.roster.set(Roster::default());
        self.live.ended.set(Some(problem));
        self.live.connection.set(Connection::Ended);
        let waiting: Vec<ClientId> = self.on_their_way().iter().map(|pending| pending.client_id).collect();
        waiting.into_iter().for_each(|client_id| self.refused(client_id, problem));
        Next::GiveUp
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
    pub fn take_heart(self) {
        let expiry = self.live.expiry();
        if self.timeline.with_untracked(|timeline| timeline.on_their_way().any(|own| expiry.of_event(own.at)))
        {
            self.timeline.update(|timeline| timeline.hold_back_old(expiry));
        }
        let has_refused = |pending: &Pending| pending.problem.is_some_and(Problem::is_of_connection);
        if self.timeline.with_untracked(|timeline| timeline.pending().iter().any(has_refused)) {
            self.timeline.update(Timeline::take_heart);
        }
    }

    /// Own messages to send when there is a connection, oldest first.
    pub fn on_their_way(self) -> Vec<Pending> {
        self.timeline.with_untracked(|timeline| timeline.on_their_way().cloned().collect())
    }

    /// The reader typed something. The others are told so once a second at most.
    pub fn typing(self) {
        let Some(courier) = self.live.courier() else { return };
        let now = courier.uptime_millis();
        if self.typed_at.get_value().is_none_or(|then| now.saturating_sub(then) >= TYPING_SIGNAL_MILLIS) {
            self.typed_at.set_value(Some(now));
            courier.typing();
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
        let asked = oldest.zip(self.live.courier()).is_some_and(|(oldest, courier)| courier.earlier(oldest));
        self.loading.set(asked);
        asked
    }

    /// Says something: shown at once, sent as soon as possible.
    ///
    /// # Errors
    /// Why it stays in the composer: [`Problem::TooManyWaiting`], or [`Problem::NotConnected`] before the page is alive.
    pub fn post(self, body: Body) -> Result<(), Problem> {
        let Some(courier) = self.live.courier() else { return Err(Problem::NotConnected) };
        let (client_id, at) = (courier.client_id(), self.live.server_time());
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
        if let Some(courier) = self.live.courier() {
            courier.hurry();
        }
    }

    fn send(self, client_id: ClientId) {
        let mut message = None;
        let now = self.live.server_time();
        self.timeline.update(|timeline| message = timeline.retry(client_id, now));
        if let (Some(courier), Some(message)) = (self.live.courier(), message) {
            courier.send(&message);
        }
    }
}
