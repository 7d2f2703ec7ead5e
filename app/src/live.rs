//! The state of a live page: signals over what one reader sees. Frames come in through [`LivePage::receive`], one
//! direct call each; the reader's actions go out through the [`Transport`]. On the server there is no transport, and
//! nothing changes.

mod chat;
mod lobby;
mod mentioned;

use std::sync::Arc;

use domain::{
    ClientId, Counts, Epoch, Expiry, Invite, Lifetimes, Problem, Seq, Timestamp, User, UserId,
    frame::{ClientCommand, ServerFrame},
    lobby::LobbyQuery,
    page::{Page, Visit},
    place::{Answering, Place},
    timeline::Pending,
};
use leptos::{
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{Element, Event, HtmlElement, MouseEvent, SubmitEvent},
};

use crate::hydration::HydrationQueue;
pub use chat::{Answered, AttachedPictures, LedTo, LiveChat};
pub use lobby::{LiveLobby, address};

/// The state of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The page has been loaded, and no connection was open yet.
    Starting,
    /// Connected, and everything is up to date.
    Connected,
    /// The connection was lost, and the page tries to reconnect.
    Reconnecting,
    /// As `Reconnecting`, and the device reports that it has no network.
    Offline,
    /// No WebSocket can be opened, so the page polls every few seconds instead. Every action still works.
    Polling,
    /// The page cannot go on. [`Live::ended`] has the reason.
    Ended,
}

/// The browser's services for a live page.
pub trait Transport: Send + Sync {
    /// Returns a new id for a message.
    fn client_id(&self) -> ClientId;

    /// Returns the milliseconds since a fixed moment, by a monotonic clock.
    fn uptime_millis(&self) -> u64;

    /// Sends a message now if there is a connection, or else with the next connection.
    fn send(&self, message: &Pending);

    /// Sends a command. It is not queued: `done` is called with [`Problem::NotConnected`] if there is no connection, and
    /// with [`Problem::AnswerLost`] if the connection is lost before the answer.
    fn ask(&self, ask: ClientCommand, done: AnswerCallback);

    /// Tells the other members that the reader is typing. Does nothing without a connection.
    fn send_typing(&self);

    /// Requests the page of history before an event. Returns false if there is no connection.
    fn request_earlier(&self, before: Seq) -> bool;

    /// Requests the page of history after an event. Returns false if there is no connection.
    fn request_later(&self, after: Seq) -> bool;

    /// Requests the events around a place. Returns false if there is no connection.
    fn request_around(&self, place: Place) -> bool;

    /// Requests what is new after an event. Does nothing without a connection.
    fn request_news(&self, after: Seq);

    /// Requests another part of the lobby, now or with the next connection. `address` is that of a page that shows it.
    fn request_lobby(&self, query: &LobbyQuery, address: &str);

    /// Reconnects now instead of waiting. If there is a connection, checks whether it is alive.
    fn reconnect_now(&self);

    /// Checks whether the server answers ordinary requests, and calls `done` with the result.
    fn check_reachable(&self, done: Box<dyn FnOnce(bool)>);

    /// Returns the draft that was saved before the page was reloaded, or `None` if there is none.
    fn saved_draft(&self) -> Option<String>;

    /// Saves the draft, for after a reload. An empty text removes it.
    fn save_draft(&self, text: &str);

    /// Returns the reader's own messages of this chat that were not stored when the page was left, oldest first.
    fn saved_waiting(&self) -> Vec<Pending>;

    /// Saves the reader's own messages that are not stored yet, for after a reload.
    fn save_waiting(&self, waiting: &[Pending]);

    /// Returns the last event of this chat that was seen in this browser, with the epoch of its log. `None` if none was.
    fn saved_seen(&self) -> Option<(Epoch, Seq)>;

    /// Saves the last event that was seen, unless a later one is saved.
    fn save_seen(&self, epoch: Epoch, seq: Seq);

    /// Returns the message that what was being written answers, saved before the page was reloaded. `None` if there is
    /// none.
    fn saved_answering(&self) -> Option<Answering>;

    /// Saves the message that what is being written answers, for after a reload.
    fn save_answering(&self, answering: Option<&Answering>);

    /// Whether the reader can type without an on-screen keyboard that covers the page.
    fn has_keyboard(&self) -> bool;

    /// Whether nothing on the page has the focus or is selected.
    fn has_no_focus(&self) -> bool;

    /// Copies the address of this page to the clipboard, and calls `done` with whether that worked. On touch devices opens
    /// the share sheet instead, if there is one; `done` is not called then.
    fn copy_link(&self, done: Box<dyn FnOnce(bool)>);
}

/// The minimum age of [`Live::now`] before it is updated, in milliseconds. Times on the page are rendered from it.
const TICK_MILLIS: u64 = 10_000;

/// A callback for the outcome of a command.
pub type AnswerCallback = Box<dyn FnOnce(Result<(), Problem>)>;

/// Opens the connection of a page. Provided as a context by the browser only.
#[derive(Clone)]
pub struct Connector(pub Arc<dyn Fn(LivePage) -> Arc<dyn Transport> + Send + Sync>);

/// What the connection has to do after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameAction {
    /// Continue: nothing has to be done.
    Continue,
    /// Watch the chat again: events are missing.
    Resubscribe,
    /// Close, and reconnect later: the server cannot do it now.
    Reconnect,
    /// Close for good: the chat has ended, the reader may not see it, or the session or protocol version is refused.
    Close,
}

/// Ignores the second click of a double click on a button, as the reader's system defines double clicks.
pub fn press_once(event: MouseEvent) {
    if event.detail() > 1 {
        event.prevent_default();
    }
}

/// Returns the offset of local time from UTC at a point in time, in minutes east. It varies with daylight saving time.
pub type OffsetMinutes = fn(Timestamp) -> i32;

/// Returns the submit button of a form event, or the link of a click.
fn pressed_element(event: &Event) -> Option<HtmlElement> {
    let pressed = match event.dyn_ref::<SubmitEvent>() {
        Some(event) => event.submitter().map(Into::into),
        None => event.target()?.dyn_ref::<Element>()?.closest("a").ok()?,
    };
    pressed?.dyn_into().ok()
}

/// The state that every live page has.
#[derive(Clone, Copy)]
pub struct Live {
    /// The reader.
    pub me: RwSignal<User>,
    /// The totals over all chats.
    pub counts: RwSignal<Counts>,
    /// The reader's open invites.
    pub invites: RwSignal<Vec<Invite>>,
    /// The users the reader has hidden.
    pub hidden: RwSignal<Vec<UserId>>,
    /// Whether the reader accepted invites when the page was rendered.
    pub takes_invites: bool,
    /// How long data is kept on this server.
    pub lifetimes: RwSignal<Lifetimes>,
    /// The time by the server's clock, up to some seconds late.
    pub now: RwSignal<Timestamp>,
    /// The state of the connection.
    pub connection: RwSignal<Connection>,
    /// Why the page cannot go on. `None` while it can.
    pub ended: RwSignal<Option<Problem>>,
    /// Why an action was not done, for actions without a place of their own to show it. `None` if there is nothing to
    /// show.
    pub notice: RwSignal<Option<Problem>>,
    /// The offset of the reader's time zone. UTC until the page is hydrated, as on the server.
    pub offset_minutes: RwSignal<OffsetMinutes>,
    /// Whether the page is hydrated.
    pub is_hydrated: RwSignal<bool>,
    /// Whether the tab is in the foreground.
    pub is_visible: RwSignal<bool>,
    /// Whether the connection has been lost for so long that presence and counts may be outdated.
    pub is_stale: RwSignal<bool>,
    /// Incremented whenever the page is shown, above all when it is restored from the back/forward cache.
    pub shown_again: RwSignal<u32>,
    /// True while a click that was held back is repeated, since the server turned out to be reachable.
    is_repeating_click: StoredValue<bool>,
    transport: StoredValue<Option<Arc<dyn Transport>>>,
    /// The last server time received, and the uptime at that moment. The reader's own clock is not used: it may be
    /// wrong, or be set at any moment.
    last_server_time: StoredValue<(Timestamp, u64)>,
}

/// A live page and its state.
#[derive(Clone, Copy)]
pub enum LivePage {
    /// The home page.
    Home(LiveLobby),
    /// The page of a chat.
    Chat(LiveChat),
}

impl Live {
    /// Creates the state of a page from the data it was rendered with.
    pub fn new(visit: Visit) -> Self {
        let Visit { me, now, counts, invites, hidden, takes_invites, lifetimes } = visit;
        Self {
            me: RwSignal::new(me),
            counts: RwSignal::new(counts),
            invites: RwSignal::new(invites),
            hidden: RwSignal::new(hidden),
            takes_invites,
            lifetimes: RwSignal::new(lifetimes),
            now: RwSignal::new(now),
            connection: RwSignal::new(Connection::Starting),
            ended: RwSignal::new(None),
            notice: RwSignal::new(None),
            offset_minutes: RwSignal::new(|_| 0),
            is_hydrated: RwSignal::new(false),
            is_visible: RwSignal::new(true),
            is_stale: RwSignal::new(false),
            shown_again: RwSignal::new(0),
            is_repeating_click: StoredValue::new(false),
            transport: StoredValue::new(None),
            last_server_time: StoredValue::new((now, 0)),
        }
    }

    /// Returns the state of the page around the current view.
    ///
    /// # Panics
    /// Panics outside of a page that provides it.
    pub fn from_context() -> Self {
        expect_context()
    }

    /// Returns the browser's services. `None` on the server, and in the browser before the page is hydrated.
    pub fn transport(self) -> Option<Arc<dyn Transport>> {
        self.transport.with_value(Clone::clone)
    }

    /// Sends a command, which is not queued. `done` is called with the outcome, as with [`Transport::ask`].
    pub fn ask(self, ask: ClientCommand, done: impl FnOnce(Result<(), Problem>) + 'static) {
        match self.transport() {
            Some(transport) => transport.ask(ask, Box::new(done)),
            None => done(Err(Problem::NotConnected)),
        }
    }

    /// Keeps a form or link from navigating to the browser's error page. If the connection is lost, the event is
    /// cancelled, and repeated once the server has answered an ordinary request. If it does not answer, sets `problem`
    /// to [`Problem::NotConnected`].
    pub fn guard_navigation(self, event: &Event, problem: RwSignal<Option<Problem>>) {
        problem.set(None);
        let is_disconnected =
            matches!(self.connection.get_untracked(), Connection::Reconnecting | Connection::Offline);
        let (true, false, Some(transport)) =
            (is_disconnected, self.is_repeating_click.get_value(), self.transport())
        else {
            return;
        };
        event.prevent_default();
        let pressed = pressed_element(event);
        transport.check_reachable(Box::new(move |is_reached| match pressed.filter(|_| is_reached) {
            Some(pressed) => {
                self.is_repeating_click.set_value(true);
                pressed.click();
                self.is_repeating_click.set_value(false);
            }
            None => problem.set(Some(Problem::NotConnected)),
        }));
    }

    /// Returns the expiry rules as of now.
    pub fn expiry(self) -> Expiry {
        Expiry { now: self.server_time(), lifetimes: self.lifetimes.get_untracked() }
    }

    /// Returns the estimated time by the server's clock.
    pub fn server_time(self) -> Timestamp {
        let (time, then) = self.last_server_time.get_value();
        let passed = self.transport().map_or(0, |transport| transport.uptime_millis().saturating_sub(then));
        Timestamp(time.0 + passed)
    }

    fn welcome(self, me: User, now: Timestamp, lifetimes: Lifetimes) {
        self.lifetimes.set(lifetimes);
        if let Some(transport) = self.transport() {
            self.last_server_time.set_value((now, transport.uptime_millis()));
        }
        self.now.set(now);
        let known = self.me.get_untracked();
        if known.id == me.id && me.is_new() && !known.is_new() {
            // The nickname has expired while this page could not keep it alive, for example because the device was
            // asleep or offline. The reader has not left, so the nickname on the page is set again.
            let ask = ClientCommand::SetNickname { nickname: known.nickname.to_string() };
            let hidden = self.hidden.get_untracked();
            return self.ask(ask, move |done| match done {
                Ok(()) => self.hide_again(hidden),
                Err(_) => self.me.set(me),
            });
        }
        self.me.set(me);
    }

    /// Hides these users again, one after the other: the server forgets hidden users along with an expired nickname.
    fn hide_again(self, mut people: Vec<UserId>) {
        if let Some(person) = people.pop() {
            self.ask(ClientCommand::SetHidden { person, is_hidden: true }, move |_| self.hide_again(people));
        }
    }

    fn tick(self) {
        let now = self.server_time();
        if now.millis_since(self.now.get_untracked()) >= TICK_MILLIS {
            self.now.set(now);
        }
    }
}

impl LivePage {
    /// Returns the state that every live page has.
    pub fn live(self) -> Live {
        match self {
            Self::Home(lobby) => lobby.live,
            Self::Chat(chat) => chat.live,
        }
    }

    /// Returns the chat, or `None` on the home page.
    pub fn chat(self) -> Option<LiveChat> {
        match self {
            Self::Home(_) => None,
            Self::Chat(chat) => Some(chat),
        }
    }

    /// Returns the part of the lobby to subscribe to: that of the home page, or the default, for the totals.
    pub fn lobby_query(self) -> LobbyQuery {
        match self {
            Self::Home(lobby) => lobby.query.get_untracked(),
            Self::Chat(_) => LobbyQuery::default(),
        }
    }

    /// Connects the page once it is hydrated. Does nothing on the server.
    pub fn connect(self) {
        let (Some(connector), Some(queue), Some(owner)) =
            (use_context::<Connector>(), use_context::<HydrationQueue>(), Owner::current())
        else {
            return;
        };
        // The owner of the page, so that what is created then is disposed of with it.
        queue.on_complete(move || owner.with(|| self.on_hydrated(&connector)));
    }

    fn on_hydrated(self, connector: &Connector) {
        let live = self.live();
        if let Self::Chat(chat) = self {
            chat.open_place();
        }
        let transport = (connector.0)(self);
        live.transport.set_value(Some(Arc::clone(&transport)));
        if let Self::Chat(chat) = self {
            chat.keep_place(Arc::clone(&transport));
            chat.persist_waiting(transport);
        }
        live.is_hydrated.set(true);
    }

    /// Applies a frame. Answers to commands are not passed here: only the connection knows their requests.
    pub fn receive(self, frame: ServerFrame) -> FrameAction {
        let live = self.live();
        match frame {
            ServerFrame::Welcome { me, now, lifetimes, .. } => {
                self.update_reader(me.id);
                if let Self::Chat(chat) = self {
                    let by = now.0.cast_signed().wrapping_sub(live.server_time().0.cast_signed());
                    chat.timeline.update(|timeline| timeline.adjust_clock(by));
                }
                live.welcome(me, now, lifetimes);
                FrameAction::Continue
            }
            ServerFrame::Invites(invites) => {
                live.invites.set(invites);
                FrameAction::Continue
            }
            ServerFrame::Hidden(hidden) => {
                live.hidden.set(hidden.clone());
                if let Self::Chat(chat) = self {
                    chat.set_hidden(hidden);
                }
                FrameAction::Continue
            }
            ServerFrame::Lobby(lobby) => {
                live.counts.set(lobby.counts);
                if let Self::Home(home) = self {
                    live.notice.set(None);
                    home.show(lobby);
                }
                FrameAction::Continue
            }
            ServerFrame::LobbyChange(change) => {
                live.counts.set(change.counts);
                if let Self::Home(home) = self {
                    home.change(change);
                }
                FrameAction::Continue
            }
            ServerFrame::Refused {
                chat: None,
                problem:
                    problem @ (Problem::UnknownVersion
                    | Problem::NoSession
                    | Problem::TwoSessions
                    | Problem::TooManyPages),
                ..
            } => self.end(problem),
            frame => match self {
                Self::Home(_) => {
                    if let ServerFrame::Refused {
                        problem: problem @ (Problem::TooManyFilters | Problem::FilterTooLong),
                        ..
                    } = frame
                    {
                        live.notice.set(Some(problem));
                        live.connection.set(Connection::Connected);
                    }
                    FrameAction::Continue
                }
                Self::Chat(chat) => chat.receive(frame),
            },
        }
    }

    /// Applies a fresh copy of the page, got by polling.
    pub fn refresh(self, page: Page) {
        let live = self.live();
        let visit = match &page {
            Page::Home(page) => &page.visit,
            Page::Chat(page) => &page.visit,
        };
        self.receive(ServerFrame::Invites(visit.invites.clone()));
        self.receive(ServerFrame::Hidden(visit.hidden.clone()));
        live.counts.set(visit.counts);
        self.update_reader(visit.me.id);
        live.welcome(visit.me.clone(), visit.now, visit.lifetimes);
        match (self, page) {
            (Self::Home(home), Page::Home(page)) => home.refresh(*page),
            (Self::Chat(chat), Page::Chat(page)) => chat.refresh(*page),
            _ => {}
        }
        live.is_stale.set(false);
        live.connection.set(Connection::Polling);
    }

    /// Ends the page: its chat has ended, or the reader may not see it any more.
    pub fn mark_ended(self, problem: Problem) {
        self.end(problem);
    }

    /// Handles a change of the session while the page is open: the cookie was cleared or replaced, for example by
    /// another tab, and the reader is another user from now on.
    fn update_reader(self, me: UserId) {
        if let (Self::Chat(chat), true) = (self, self.live().me.with_untracked(|known| known.id != me)) {
            chat.set_reader(me);
        }
    }

    /// Updates the clock and drops expired events. Has to be called every few seconds.
    pub fn tick(self) {
        self.live().tick();
        if let Self::Chat(chat) = self {
            chat.drop_expired();
        }
    }

    fn end(self, problem: Problem) -> FrameAction {
        if let Self::Chat(chat) = self {
            return chat.end(problem);
        }
        let live = self.live();
        live.ended.set(Some(problem));
        live.connection.set(Connection::Ended);
        FrameAction::Close
    }
}
