//! A live chat: signals over what one reader sees. Frames come in through [`Live::receive`], one direct call each;
//! what the reader does goes out through the [`Courier`]. On the server there is no courier, and nothing moves.

use std::sync::Arc;

use domain::{
    Body, Chat, ChatId, ClientId, Problem, Roster, Seq, Timeline, Timestamp, User, What,
    frame::{Ask, Cursor, ServerFrame},
    page::ChatPage,
    timeline::{Applied, Pending},
};
use leptos::prelude::{
    GetUntracked, GetValue, RwSignal, Set, SetValue, StoredValue, Update, WithUntracked, WithValue,
    expect_context,
};

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
    /// The chat cannot go on; why is said elsewhere.
    Ended,
}

/// What the browser does for a live chat.
pub trait Courier: Send + Sync {
    /// A fresh id for a message.
    fn client_id(&self) -> ClientId;

    /// What time it is here.
    fn now(&self) -> Timestamp;

    /// Sends a message now if there is a connection; otherwise it goes out when there is one again.
    fn send(&self, message: &Pending);

    /// Asks for something that cannot wait. `done` is told what became of it, which is [`Problem::NotConnected`]
    /// where there is no connection, or none any more when the answer should come.
    fn ask(&self, ask: Ask, done: Answered);

    /// Tells the others that one is typing, if there is a connection.
    fn typing(&self);

    /// Asks for the page of history before an event. False where there is no connection.
    fn earlier(&self, before: Seq) -> bool;

    /// Tries to connect now instead of waiting.
    fn hurry(&self);

    /// What was being written here before the page was loaded anew.
    fn draft(&self) -> Option<String>;

    /// Keeps what is being written, for when the page is loaded anew. Nothing is forgotten.
    fn keep_draft(&self, text: &str);

    /// Whether one can write without a keyboard that covers the page.
    fn has_keyboard(&self) -> bool;

    /// Puts the address of this page where it can be pasted from. `done` is told whether that worked.
    fn copy_link(&self, done: Box<dyn FnOnce(bool)>);
}

/// How often the others are told that somebody is typing.
const TYPING_SIGNAL_MILLIS: u64 = 1_000;

/// Is told what became of something that was asked for.
pub type Answered = Box<dyn FnOnce(Result<(), Problem>)>;

/// How the browser is told that a chat wants to be alive.
#[derive(Clone)]
pub struct Connector(pub Arc<dyn Fn(Live) -> Arc<dyn Courier> + Send + Sync>);

/// What the connection has to do after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    GoOn,
    /// Something is missing: watch again.
    WatchAgain,
    /// The server cannot do it now: come back later.
    ComeBack,
    /// There is nothing more to come: the chat has gone, or the server speaks another language.
    GiveUp,
}

/// Minutes that clocks are east of UTC at a time: summer time comes and goes.
pub type OffsetMinutes = fn(Timestamp) -> i32;

/// A chat as one reader sees it, alive.
#[derive(Clone, Copy)]
pub struct Live {
    /// Who reads.
    pub me: RwSignal<User>,
    /// What.
    pub chat: RwSignal<Chat>,
    /// What was said.
    pub timeline: RwSignal<Timeline>,
    /// Who is there.
    pub roster: RwSignal<Roster>,
    /// How the connection is.
    pub connection: RwSignal<Connection>,
    /// Why the chat cannot go on, once it cannot.
    pub ended: RwSignal<Option<Problem>>,
    /// How far the reader's clocks are east of UTC. UTC until the browser has taken over, as on the server.
    pub offset_minutes: RwSignal<OffsetMinutes>,
    /// Whether the browser has taken over.
    pub is_alive: RwSignal<bool>,
    /// How many messages were said on this page.
    pub posted: RwSignal<usize>,
    /// Whether earlier events are on their way.
    pub loading: RwSignal<bool>,
    courier: StoredValue<Option<Arc<dyn Courier>>>,
    typed_at: StoredValue<Timestamp>,
}

impl Live {
    /// A chat as its page arrived.
    pub fn new(page: ChatPage) -> Self {
        let ChatPage { me, chat, roster, history, .. } = page;
        Self {
            timeline: RwSignal::new(Timeline::new(me.id, history)),
            me: RwSignal::new(me),
            chat: RwSignal::new(chat),
            roster: RwSignal::new(roster),
            connection: RwSignal::new(Connection::Starting),
            ended: RwSignal::new(None),
            offset_minutes: RwSignal::new(|_| 0),
            is_alive: RwSignal::new(false),
            posted: RwSignal::new(0),
            loading: RwSignal::new(false),
            courier: StoredValue::new(None),
            typed_at: StoredValue::new(Timestamp(0)),
        }
    }

    /// The live chat of the page around a view.
    ///
    /// # Panics
    /// Outside of the chat page, which provides it.
    pub fn here() -> Self {
        expect_context()
    }

    /// Brings the page to life.
    pub fn connect(self, connector: &Connector) {
        let courier = (connector.0)(self);
        self.courier.set_value(Some(courier));
        self.is_alive.set(true);
    }

    /// Which chat.
    pub fn chat_id(self) -> ChatId {
        self.chat.with_untracked(|chat| chat.id)
    }

    /// Where to go on from.
    pub fn cursor(self) -> Cursor {
        self.timeline.with_untracked(Timeline::cursor)
    }

    /// Takes in a frame about this chat. Answers to commands do not come here but to [`Live::stored`] and
    /// [`Live::refused`], since only the connection knows which message they are about.
    pub fn receive(self, frame: ServerFrame) -> Next {
        match frame {
            ServerFrame::Welcome { me, .. } => {
                // a cookie can be exchanged while a page is open: cleared, or set by another tab
                if self.me.with_untracked(|known| known.id != me.id) {
                    self.timeline.update(|timeline| timeline.read_by(me.id));
                }
                self.me.set(me);
                Next::GoOn
            }
            ServerFrame::Snapshot { chat, history } => {
                self.chat.set(chat);
                self.timeline.update(|timeline| timeline.reset(history));
                self.connection.set(Connection::Connected);
                Next::GoOn
            }
            ServerFrame::Resumed { .. } => {
                self.connection.set(Connection::Connected);
                Next::GoOn
            }
            ServerFrame::Event(event) => {
                let mut applied = Applied::Known;
                self.timeline.update(|timeline| applied = timeline.apply(event.clone()));
                match applied {
                    Applied::Hole => Next::WatchAgain,
                    Applied::Known => Next::GoOn,
                    Applied::Appended => {
                        if !matches!(event.what, What::Posted(_))
                            && let Some(chat) = event.apply_to(Some(self.chat.get_untracked()))
                        {
                            self.chat.set(chat);
                        }
                        Next::GoOn
                    }
                }
            }
            ServerFrame::Earlier { before, events, earlier, .. } => {
                self.timeline.update(|timeline| timeline.prepend(before, events, earlier));
                self.loading.set(false);
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
            ServerFrame::Refused { chat: Some(_), code, .. } if code.is_passing() => Next::ComeBack,
            ServerFrame::Refused { chat: Some(_), code, .. }
            | ServerFrame::Refused { code: code @ (Problem::UnknownVersion | Problem::NoSession), .. } => {
                self.end(code)
            }
            ServerFrame::Refused { .. } | ServerFrame::Done { .. } | ServerFrame::Beat => Next::GoOn,
        }
    }

    /// What one is called follows what others see, whichever tab it was changed in.
    fn follow_me(self) {
        let me = self.me.get_untracked();
        let seen = self.roster.with_untracked(|roster| {
            roster.members.iter().find(|member| member.id == me.id).map(|member| member.nickname.clone())
        });
        if let Some(nickname) = seen.filter(|nickname| *nickname != me.nickname) {
            self.me.set(User { nickname, ..me });
        }
    }

    fn end(self, problem: Problem) -> Next {
        self.ended.set(Some(problem));
        self.connection.set(Connection::Ended);
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

    /// Own messages to send when there is a connection, oldest first.
    pub fn on_their_way(self) -> Vec<Pending> {
        self.timeline.with_untracked(|timeline| timeline.on_their_way().cloned().collect())
    }

    /// The reader typed something. The others are told so once a second at most.
    pub fn typing(self) {
        let Some(courier) = self.courier() else { return };
        let now = courier.now();
        if now.millis_since(self.typed_at.get_value()) >= TYPING_SIGNAL_MILLIS {
            self.typed_at.set_value(now);
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
        let asked = oldest.zip(self.courier()).is_some_and(|(oldest, courier)| courier.earlier(oldest));
        self.loading.set(asked);
        asked
    }

    /// Says something: shown at once, sent as soon as possible.
    ///
    /// # Errors
    /// Why it stays in the composer: [`Problem::Busy`] when too many messages wait already.
    pub fn post(self, body: Body) -> Result<(), Problem> {
        let Some(courier) = self.courier() else { return Err(Problem::Busy) };
        let (client_id, at) = (courier.client_id(), courier.now());
        let mut shown = false;
        self.timeline.update(|timeline| shown = timeline.echo(client_id, body, at));
        if !shown {
            return Err(Problem::Busy);
        }
        self.posted.update(|posted| *posted += 1);
        // what is typed next is worth telling at once
        self.typed_at.set_value(Timestamp(0));
        match self.ended.get_untracked() {
            Some(problem) => self.refused(client_id, problem),
            None => self.send(client_id),
        }
        Ok(())
    }

    /// Tries a message again, under the same id.
    pub fn retry(self, client_id: ClientId) {
        if let Some(problem) = self.ended.get_untracked() {
            return self.refused(client_id, problem);
        }
        self.send(client_id);
        if let Some(courier) = self.courier() {
            courier.hurry();
        }
    }

    /// Asks for something that changes the chat or oneself. `done` is told what became of it.
    pub fn ask(self, ask: Ask, done: impl FnOnce(Result<(), Problem>) + 'static) {
        match self.courier() {
            Some(courier) => courier.ask(ask, Box::new(done)),
            None => done(Err(Problem::NotConnected)),
        }
    }

    fn send(self, client_id: ClientId) {
        let mut message = None;
        self.timeline.update(|timeline| message = timeline.retry(client_id));
        if let (Some(courier), Some(message)) = (self.courier(), message) {
            courier.send(&message);
        }
    }

    /// What the browser can do for this chat; nothing on the server and before the page is alive.
    pub fn courier(self) -> Option<Arc<dyn Courier>> {
        self.courier.with_value(Clone::clone)
    }
}
