//! A live page: signals over what one reader sees. Frames come in through [`LivePage::receive`], one direct call each;
//! what the reader does goes out through the [`Transport`]. On the server there is no transport, and nothing moves.

mod chat;
mod lobby;

use std::sync::Arc;

use domain::{
    ClientId, Counts, Expiry, Invite, Lifetimes, Problem, Seq, Timestamp, User, UserId,
    frame::{Ask, ServerFrame},
    lobby::LobbyQuery,
    page::{Page, Visit},
    timeline::Pending,
};
use leptos::{
    prelude::*,
    wasm_bindgen::JsCast,
    web_sys::{Element, Event, HtmlElement, MouseEvent, SubmitEvent},
};

use crate::takeover::HydrationQueue;
pub use chat::LiveChat;
pub use lobby::{LiveLobby, address};

/// How the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The page has just arrived.
    Starting,
    /// Everything is up to date.
    Connected,
    /// Cut off, and trying again.
    Reconnecting,
    /// Cut off, trying again, and the device says that it has no network.
    Offline,
    /// No live connection comes through, and the page asks every few seconds instead. All it does works.
    Polling,
    /// The page cannot go on; why is said elsewhere.
    Ended,
}

/// What the browser does for a live page.
pub trait Transport: Send + Sync {
    /// A fresh id for a message.
    fn client_id(&self) -> ClientId;

    /// Milliseconds since some moment, by a clock that nobody sets.
    fn uptime_millis(&self) -> u64;

    /// Sends a message now if there is a connection; otherwise it goes out when there is one again.
    fn send(&self, message: &Pending);

    /// Asks for something that cannot wait. `done` is told what became of it, which is [`Problem::NotConnected`]
    /// where there is no connection, or none any more when the answer should come.
    fn ask(&self, ask: Ask, done: Answered);

    /// Tells the others that one is typing, if there is a connection.
    fn typing(&self);

    /// Asks for the page of history before an event. False where there is no connection.
    fn earlier(&self, before: Seq) -> bool;

    /// Asks for the page of history after an event. False where there is no connection.
    fn later(&self, after: Seq) -> bool;

    /// Asks for another part of the lobby, now or with the next connection. The address is that of a page with it.
    fn lobby(&self, wanted: &LobbyQuery, address: &str);

    /// Tries to connect now instead of waiting, and asks a connection that there is whether it lives.
    fn reconnect_now(&self);

    /// Asks whether the server can be reached by ordinary requests.
    fn check_reachable(&self, done: Box<dyn FnOnce(bool)>);

    /// What was being written here before the page was loaded anew.
    fn draft(&self) -> Option<String>;

    /// Keeps what is being written, for when the page is loaded anew. Nothing is forgotten.
    fn keep_draft(&self, text: &str);

    /// Own messages of this chat that were not stored when the page was left, oldest first.
    fn waiting(&self) -> Vec<Pending>;

    /// Keeps own messages that are not stored, for when the page is loaded anew.
    fn keep_waiting(&self, waiting: &[Pending]);

    /// Whether one can write without a keyboard that covers the page.
    fn has_keyboard(&self) -> bool;

    /// Whether the reader has neither the focus nor a selection anywhere on the page.
    fn is_nowhere(&self) -> bool;

    /// Puts the address of this page where it can be pasted from. `done` is told whether that worked.
    fn copy_link(&self, done: Box<dyn FnOnce(bool)>);
}

/// What is shown of a time is looked at anew when it is this many milliseconds older.
const TICK_MILLIS: u64 = 10_000;

/// Is told what became of something that was asked for.
pub type Answered = Box<dyn FnOnce(Result<(), Problem>)>;

/// How the browser is told that a page wants to be alive.
#[derive(Clone)]
pub struct Connector(pub Arc<dyn Fn(LivePage) -> Arc<dyn Transport> + Send + Sync>);

/// What the connection has to do after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameAction {
    /// Go on.
    Continue,
    /// Something is missing: watch again.
    Resubscribe,
    /// The server cannot do it now: come back later.
    Reconnect,
    /// There is nothing more to come: the chat has gone, or the server speaks another language.
    Close,
}

/// Keeps a button from being pressed by the second click of a double click, as the system of the reader tells them.
pub fn press_once(event: MouseEvent) {
    if event.detail() > 1 {
        event.prevent_default();
    }
}

/// Minutes that clocks are east of UTC at a time: summer time comes and goes.
pub type OffsetMinutes = fn(Timestamp) -> i32;

/// The button of a form or the link that an event comes from.
fn pressed(event: &Event) -> Option<HtmlElement> {
    let pressed = match event.dyn_ref::<SubmitEvent>() {
        Some(event) => event.submitter().map(Into::into),
        None => event.target()?.dyn_ref::<Element>()?.closest("a").ok()?,
    };
    pressed?.dyn_into().ok()
}

/// What is the same on every live page: who looks, what goes on, and how the connection is.
#[derive(Clone, Copy)]
pub struct Live {
    /// Who looks.
    pub me: RwSignal<User>,
    /// How many there are in all.
    pub counts: RwSignal<Counts>,
    /// Who wants to talk to whoever looks.
    pub invites: RwSignal<Vec<Invite>>,
    /// Whom they have hidden.
    pub hidden: RwSignal<Vec<UserId>>,
    /// Whether others could invite whoever looks when the page was made.
    pub takes_invites: bool,
    /// How long things are kept here.
    pub lifetimes: RwSignal<Lifetimes>,
    /// What time it is on the server, some seconds late.
    pub now: RwSignal<Timestamp>,
    /// How the connection is.
    pub connection: RwSignal<Connection>,
    /// Why the page cannot go on, once it cannot.
    pub ended: RwSignal<Option<Problem>>,
    /// Why something was not done, where there is no place to say so beside it.
    pub notice: RwSignal<Option<Problem>>,
    /// How far the reader's clocks are east of UTC. UTC until the browser has taken over, as on the server.
    pub offset_minutes: RwSignal<OffsetMinutes>,
    /// Whether the browser has taken over.
    pub is_hydrated: RwSignal<bool>,
    /// Whether the page is in view, and not behind another one.
    pub is_visible: RwSignal<bool>,
    /// Whether the connection has been lost for so long that what is known of others may not be true any more.
    pub is_in_doubt: RwSignal<bool>,
    /// How often the page was shown again as it was left, by the way back.
    pub shown_again: RwSignal<u32>,
    /// Whether what the reader did goes on its way now: it was held back, and the server can be reached.
    goes_on: StoredValue<bool>,
    transport: StoredValue<Option<Arc<dyn Transport>>>,
    /// What time it was on the server when it last said so, and the uptime then. The reader's own clock may be wrong, and
    /// set right at any moment.
    told: StoredValue<(Timestamp, u64)>,
}

/// A live page with what is on it.
#[derive(Clone, Copy)]
pub enum LivePage {
    /// The home page.
    Home(LiveLobby),
    /// A chat.
    Chat(LiveChat),
}

impl Live {
    /// A page as it arrived.
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
            is_in_doubt: RwSignal::new(false),
            shown_again: RwSignal::new(0),
            goes_on: StoredValue::new(false),
            transport: StoredValue::new(None),
            told: StoredValue::new((now, 0)),
        }
    }

    /// The live page around a view.
    ///
    /// # Panics
    /// Outside of a page that provides one.
    pub fn here() -> Self {
        expect_context()
    }

    /// What the browser can do for this page; nothing on the server and before the page is alive.
    pub fn transport(self) -> Option<Arc<dyn Transport>> {
        self.transport.with_value(Clone::clone)
    }

    /// Asks for something that changes a chat or oneself. `done` is told what became of it.
    pub fn ask(self, ask: Ask, done: impl FnOnce(Result<(), Problem>) + 'static) {
        match self.transport() {
            Some(transport) => transport.ask(ask, Box::new(done)),
            None => done(Err(Problem::NotConnected)),
        }
    }

    /// Keeps a form or a link from leading to a page of the browser's own: where there is no connection as far as is known, it
    /// goes on once the server has answered. Where it does not, that is put into `problem`.
    pub fn stay_if_cut_off(self, event: &Event, problem: RwSignal<Option<Problem>>) {
        problem.set(None);
        let is_cut_off =
            matches!(self.connection.get_untracked(), Connection::Reconnecting | Connection::Offline);
        let (true, false, Some(transport)) = (is_cut_off, self.goes_on.get_value(), self.transport()) else {
            return;
        };
        event.prevent_default();
        let pressed = pressed(event);
        transport.check_reachable(Box::new(move |is_reached| match pressed.filter(|_| is_reached) {
            Some(pressed) => {
                self.goes_on.set_value(true);
                pressed.click();
                self.goes_on.set_value(false);
            }
            None => problem.set(Some(Problem::NotConnected)),
        }));
    }

    /// What has expired by now.
    pub fn expiry(self) -> Expiry {
        Expiry { now: self.server_time(), lifetimes: self.lifetimes.get_untracked() }
    }

    /// What time it is on the server, as far as is known.
    pub fn server_time(self) -> Timestamp {
        let (told, then) = self.told.get_value();
        let passed = self.transport().map_or(0, |transport| transport.uptime_millis().saturating_sub(then));
        Timestamp(told.0 + passed)
    }

    fn welcome(self, me: User, now: Timestamp, lifetimes: Lifetimes) {
        self.lifetimes.set(lifetimes);
        if let Some(transport) = self.transport() {
            self.told.set_value((now, transport.uptime_millis()));
        }
        self.now.set(now);
        let known = self.me.get_untracked();
        if known.id == me.id && me.is_new() && !known.is_new() {
            // The nickname has expired while this page could not keep it: a device slept, or was far from a network.
            // Whoever looks has not left, and is called what they see themselves called.
            let ask = Ask::SetNickname { nickname: known.nickname.to_string() };
            let hidden = self.hidden.get_untracked();
            return self.ask(ask, move |done| match done {
                Ok(()) => self.hide_again(hidden),
                Err(_) => self.me.set(me),
            });
        }
        self.me.set(me);
    }

    /// Hides one after the other: whom somebody hides is forgotten with their nickname.
    fn hide_again(self, mut people: Vec<UserId>) {
        if let Some(person) = people.pop() {
            self.ask(Ask::SetHidden { person, is_hidden: true }, move |_| self.hide_again(people));
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
    /// What is the same on every page.
    pub fn live(self) -> Live {
        match self {
            Self::Home(lobby) => lobby.live,
            Self::Chat(chat) => chat.live,
        }
    }

    /// The chat, on the page of one.
    pub fn chat(self) -> Option<LiveChat> {
        match self {
            Self::Home(_) => None,
            Self::Chat(chat) => Some(chat),
        }
    }

    /// Which part of the lobby this page shows: how many there are in all, at least.
    pub fn wanted(self) -> LobbyQuery {
        match self {
            Self::Home(lobby) => lobby.wanted.get_untracked(),
            Self::Chat(_) => LobbyQuery::default(),
        }
    }

    /// Brings the page to life as soon as the browser has taken it over, where there is one.
    pub fn connect(self) {
        let (Some(connector), Some(takeover), Some(owner)) =
            (use_context::<Connector>(), use_context::<HydrationQueue>(), Owner::current())
        else {
            return;
        };
        // what is made then belongs to the page as everything on it does
        takeover.on_complete(move || owner.with(|| self.on_hydrated(&connector)));
    }

    fn on_hydrated(self, connector: &Connector) {
        let live = self.live();
        let transport = (connector.0)(self);
        live.transport.set_value(Some(Arc::clone(&transport)));
        if let Self::Chat(chat) = self {
            chat.keep_waiting(transport);
        }
        live.is_hydrated.set(true);
    }

    /// Takes in a frame. Answers to commands do not come here, since only the connection knows what they are about.
    pub fn receive(self, frame: ServerFrame) -> FrameAction {
        let live = self.live();
        match frame {
            ServerFrame::Welcome { me, now, lifetimes, .. } => {
                self.met(me.id);
                if let Self::Chat(chat) = self {
                    let by = now.0.cast_signed().wrapping_sub(live.server_time().0.cast_signed());
                    chat.timeline.update(|timeline| timeline.clock_set(by));
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
                    chat.hide(hidden);
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

    /// Takes in the page as it is now, asked for by an ordinary request.
    pub fn refresh(self, page: Page) {
        let live = self.live();
        let visit = match &page {
            Page::Home(page) => &page.visit,
            Page::Chat(page) => &page.visit,
        };
        self.receive(ServerFrame::Invites(visit.invites.clone()));
        self.receive(ServerFrame::Hidden(visit.hidden.clone()));
        live.counts.set(visit.counts);
        self.met(visit.me.id);
        live.welcome(visit.me.clone(), visit.now, visit.lifetimes);
        match (self, page) {
            (Self::Home(home), Page::Home(page)) => home.refresh(*page),
            (Self::Chat(chat), Page::Chat(page)) => chat.refresh(*page),
            _ => {}
        }
        live.is_in_doubt.set(false);
        live.connection.set(Connection::Polling);
    }

    /// What the page is of has gone, or the reader may not see it any more.
    pub fn gone(self, problem: Problem) {
        self.end(problem);
    }

    /// A cookie can be exchanged while a page is open: cleared, or set by another tab. Who reads is another user then.
    fn met(self, me: UserId) {
        if let (Self::Chat(chat), true) = (self, self.live().me.with_untracked(|known| known.id != me)) {
            chat.read_by(me);
        }
    }

    /// Time goes on: to be called every few seconds.
    pub fn tick(self) {
        self.live().tick();
        if let Self::Chat(chat) = self {
            chat.forget();
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
