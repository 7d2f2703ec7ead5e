//! The socket of the page. [`ConnectionState`] decides what to do; this does it, with the browser.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use app::live::{AnswerCallback, Connection, FrameAction, LiveChat, LivePage, Transport};
use domain::{
    ClientId, Epoch, Problem, Seq,
    frame::{ClientCommand, ClientFrame, Cursor, ServerFrame, VERSION},
    lobby::LobbyQuery,
    place::{Answering, Place},
    timeline::Pending,
};
use leptos::prelude::*;
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use web_sys::{BeforeUnloadEvent, CloseEvent, Event, EventTarget, MessageEvent, WebSocket};

use crate::{
    browser::{self, Reply, Timer},
    connection::{ConnectionState, Environment, Input, Output, Repair},
    in_flight::{InFlight, PieceCallback, Waiting},
    json,
    polling::{self, Polling},
    storage,
};

/// The interval of the watchdog, in milliseconds.
const WATCH_MILLIS: i32 = 5_000;
/// The timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// The time after a lost connection, in milliseconds, before presence and counts are marked as possibly outdated: short
/// outages, such as in a tunnel, are not shown.
const STALE_MILLIS: i32 = 2_000;
/// The delay before a message is retried that could not be stored, in seconds, unless the server names one.
const PAUSE_SECONDS: u32 = 2;
/// How often it is saved at most how far the reader has read, in milliseconds.
const SEEN_MILLIS: i32 = 1_000;
/// The path of the WebSocket.
const ADDRESS: &str = "/live";
/// The status of a request that exceeded the rate limit (RFC 6585, section 4).
const TOO_MANY_REQUESTS: u16 = 429;
/// The close code of a normal closure (RFC 6455, section 7.4).
const NORMAL_CLOSE: u16 = 1000;

thread_local! {
    /// The client of this instance.
    static OPEN: RefCell<Weak<Client>> = const { RefCell::new(Weak::new()) };
}

/// Closes the connection of this instance for good, if it exists.
pub(crate) fn close() {
    if let Some(client) = OPEN.with(|open| open.borrow().upgrade()) {
        client.on(Input::GiveUp);
    }
}

/// Returns the page that this instance keeps connected. `None` before it is connected, and once this instance is stopped.
pub(crate) fn page() -> Option<LivePage> {
    client().map(|client| client.page)
}

/// Sends a command that a piece of the page asks for, in JSON. It is not queued: `done` is called with
/// [`Problem::NotConnected`] if there is no connection, and with [`Problem::AnswerLost`] if the connection is lost before the
/// answer.
pub(crate) fn ask_json(command: String, done: PieceCallback) {
    match client() {
        Some(client) => client.ask_json(command, done),
        None => done(Err(Problem::NotConnected)),
    }
}

fn client() -> Option<Rc<Client>> {
    OPEN.with(|open| open.borrow().upgrade()).filter(|_| !browser::is_stopped())
}

/// The socket of a live page. May only be used in the browser's main thread, which is the only one.
pub(crate) struct Socket(SendWrapper<Rc<Client>>);

/// The connection of a live page, with all that it needs from the browser.
struct Client {
    page: LivePage,
    /// The state machine, which decides what to do.
    state: RefCell<ConnectionState>,
    /// The WebSocket. `None` while there is none.
    socket: RefCell<Option<OpenSocket>>,
    polling: Rc<Polling>,
    /// The timer of the next attempt.
    retry: RefCell<Option<Timer>>,
    /// The timer of a pause in sending messages. `None` if there is no pause.
    pause: RefCell<Option<Timer>>,
    /// The timer for an answer.
    answer_due: RefCell<Option<Timer>>,
    /// The timer after which presence and counts are marked as possibly outdated.
    stale: RefCell<Option<Timer>>,
    /// The last event that was seen, with the epoch of its log, until it is saved. `None` once it is.
    seen: Cell<Option<(Epoch, Seq)>>,
    /// The timer until the next one is saved. `None` if it may be saved at once.
    seen_saved: RefCell<Option<Timer>>,
    _watchdog: RefCell<Option<Timer>>,
    _listeners: RefCell<Vec<Listener>>,
}

/// A WebSocket, and its unanswered requests.
struct OpenSocket {
    socket: WebSocket,
    in_flight: InFlight,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close_with_code(NORMAL_CLOSE);
    }
}

/// An event listener that is removed when it is dropped.
struct Listener {
    target: EventTarget,
    event: &'static str,
    action: Closure<dyn FnMut(Event)>,
}

impl Listener {
    fn new(
        target: EventTarget,
        event: &'static str,
        mut action: impl FnMut(Event) + 'static,
    ) -> Option<Self> {
        let action = Closure::<dyn FnMut(Event)>::new(move |event| {
            if !browser::is_stopped() {
                action(event);
            }
        });
        target.add_event_listener_with_callback(event, action.as_ref().unchecked_ref()).ok()?;
        Some(Self { target, event, action })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let action = self.action.as_ref().unchecked_ref();
        let _ = self.target.remove_event_listener_with_callback(self.event, action);
    }
}

impl Socket {
    /// Connects a live page, and keeps it connected for as long as the page exists.
    pub(crate) fn open(page: LivePage) -> Self {
        page.live().is_visible.set(browser::is_visible());
        // In a task of its own: it re-renders every time of day on the page, which takes longer than connecting.
        let _ = set_timeout(move || page.live().offset_minutes.set(browser::offset_minutes), Duration::ZERO);
        let client = Rc::new(Client {
            page,
            state: RefCell::new(ConnectionState::new(browser::now())),
            socket: RefCell::new(None),
            polling: Polling::new(page),
            retry: RefCell::new(None),
            pause: RefCell::new(None),
            answer_due: RefCell::new(None),
            stale: RefCell::new(None),
            seen: Cell::new(None),
            seen_saved: RefCell::new(None),
            _watchdog: RefCell::new(None),
            _listeners: RefCell::new(Vec::new()),
        });
        OPEN.with(|open| open.replace(Rc::downgrade(&client)));
        client.listen();
        storage::forget_seen(page.live().lifetimes.with_untracked(|lifetimes| lifetimes.message.millis()));
        client.on(Input::Connect);
        Self(SendWrapper::new(client))
    }
}

impl Transport for Socket {
    fn client_id(&self) -> ClientId {
        browser::client_id()
    }

    fn uptime_millis(&self) -> u64 {
        browser::uptime_millis()
    }

    fn send(&self, message: &Pending) {
        self.0.post(message);
    }

    fn ask(&self, ask: ClientCommand, done: AnswerCallback) {
        self.0.ask(ask, done);
    }

    fn send_typing(&self) {
        if let Some(chat) = self.0.page.chat() {
            self.0.send(&ClientFrame::Typing { chat: chat.chat_id() });
        }
    }

    fn request_earlier(&self, before: Seq) -> bool {
        let is_open = self.0.state.borrow().is_open();
        let chat = self.0.page.chat().filter(|_| is_open);
        if let Some(chat) = chat {
            self.0.send(&ClientFrame::Earlier { chat: chat.chat_id(), before });
        }
        chat.is_some()
    }

    fn request_later(&self, after: Seq) -> bool {
        let is_open = self.0.state.borrow().is_open();
        let chat = self.0.page.chat().filter(|_| is_open);
        if let Some(chat) = chat {
            self.0.send(&ClientFrame::Later { chat: chat.chat_id(), after });
        }
        chat.is_some()
    }

    fn request_around(&self, place: Place) -> bool {
        let is_open = self.0.state.borrow().is_open();
        let chat = self.0.page.chat().filter(|_| is_open);
        if let Some(chat) = chat {
            self.0.send(&ClientFrame::Around { chat: chat.chat_id(), at: place.at(), since: place.since() });
        }
        chat.is_some()
    }

    fn request_news(&self, after: Seq) {
        if let Some(chat) = self.0.page.chat() {
            self.0.send(&ClientFrame::News { chat: chat.chat_id(), after });
        }
    }

    fn request_lobby(&self, query: &LobbyQuery, address: &str) {
        browser::show_address(address);
        self.0.send(&ClientFrame::Lobby(query.clone()));
        self.0.polling.poll();
    }

    fn reconnect_now(&self) {
        self.0.on(Input::CheckNow);
    }

    fn check_reachable(&self, done: Box<dyn FnOnce(bool)>) {
        browser::request(
            "/healthz",
            None,
            PROBE_TIMEOUT,
            Box::new(|reply| done(reply.is_some_and(|reply| reply.is_ok()))),
        );
    }

    fn saved_draft(&self) -> Option<String> {
        storage::saved_draft(self.0.page.chat()?.chat_id())
    }

    fn save_draft(&self, text: &str) {
        if let Some(chat) = self.0.page.chat() {
            storage::save_draft(chat.chat_id(), text);
        }
    }

    fn saved_waiting(&self) -> Vec<Pending> {
        self.0.page.chat().map(|chat| storage::saved_waiting(chat.chat_id())).unwrap_or_default()
    }

    fn save_waiting(&self, waiting: &[Pending]) {
        if let Some(chat) = self.0.page.chat() {
            storage::save_waiting(chat.chat_id(), waiting);
        }
    }

    fn saved_seen(&self) -> Option<(Epoch, Seq)> {
        let saved = storage::saved_seen(self.0.page.chat()?.chat_id())?;
        Some((saved.epoch, saved.seq))
    }

    fn save_seen(&self, epoch: Epoch, seq: Seq) {
        let client = &self.0;
        client.seen.set(Some((epoch, seq)));
        if client.seen_saved.borrow().is_some() {
            return;
        }
        client.write_seen();
        client.set_timer(&client.seen_saved, SEEN_MILLIS, |client| {
            let _over = client.seen_saved.take();
            client.write_seen();
        });
    }

    fn saved_answering(&self) -> Option<Answering> {
        storage::saved_answering(self.0.page.chat()?.chat_id())
    }

    fn save_answering(&self, answering: Option<&Answering>) {
        if let Some(chat) = self.0.page.chat() {
            storage::save_answering(chat.chat_id(), answering);
        }
    }

    fn has_keyboard(&self) -> bool {
        browser::has_keyboard()
    }

    fn has_no_focus(&self) -> bool {
        browser::has_no_focus()
    }

    fn copy_link(&self, done: Box<dyn FnOnce(bool)>) {
        // Hand-held devices have a share sheet. With a mouse, the clipboard is quicker.
        if browser::has_keyboard() || !browser::share_link() {
            browser::copy_link(done);
        }
    }
}

impl Client {
    fn listen(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let watchdog = Timer::every(WATCH_MILLIS, move || {
            if let Some(client) = weak.upgrade() {
                client.on(Input::Watch { every: WATCH_MILLIS as u64 });
                client.page.tick();
            }
        });
        *self._watchdog.borrow_mut() = watchdog;

        let Some(window) = browser::window() else { return };
        let document = window.document().map(EventTarget::from);
        let on = |target: EventTarget, event, action: fn(&Rc<Self>, &Event)| {
            let weak = Rc::downgrade(self);
            let listener = Listener::new(target, event, move |event| {
                if let Some(client) = weak.upgrade() {
                    action(&client, &event);
                }
            });
            self._listeners.borrow_mut().extend(listener);
        };
        on(window.clone().into(), "online", |client, _| client.on(Input::CheckNow));
        on(window.clone().into(), "offline", |client, _| {
            client.polling.stop();
            client.on(Input::Lost);
        });
        // The page may have been restored from the back/forward cache.
        on(window.clone().into(), "pageshow", |client, _| {
            client.page.live().shown_again.update(|times| *times += 1);
            client.on(Input::CheckNow);
        });
        on(window.clone().into(), "pagehide", |client, _| client.write_seen());
        // Another tab has saved how far it was read there, or anything else.
        on(window.clone().into(), "storage", |client, _| {
            if let Some(chat) = client.page.chat() {
                chat.see_elsewhere();
            }
        });
        // Messages that wait are kept in the tab's storage, and lost when the tab is closed.
        on(window.into(), "beforeunload", |client, event| {
            if client.page.chat().is_some_and(LiveChat::has_waiting) {
                event.prevent_default();
                if let Some(event) = event.dyn_ref::<BeforeUnloadEvent>() {
                    event.set_return_value("waiting");
                }
            }
        });
        if let Some(document) = document {
            on(document, "visibilitychange", |client, _| {
                client.page.live().is_visible.set(browser::is_visible());
                if browser::is_visible() {
                    client.page.tick();
                    client.on(Input::Shown);
                }
            });
        }
    }

    /// Saves how far the reader has read, if that is not saved yet.
    fn write_seen(&self) {
        if let (Some(chat), Some((epoch, seq))) = (self.page.chat(), self.seen.take()) {
            storage::save_seen(chat.chat_id(), epoch, seq);
        }
    }

    /// Handles an input, and takes the actions that follow.
    fn on(self: &Rc<Self>, input: Input) {
        let environment = Environment {
            now: browser::uptime_millis(),
            clock: browser::now(),
            is_online: browser::is_online(),
            is_visible: browser::is_visible(),
            is_polling: self.polling.is_on(),
            is_ended: self.page.live().ended.with_untracked(Option::is_some),
            random: browser::random(),
        };
        // Actions may cause further inputs, so the state must not be borrowed meanwhile.
        let outputs = self.state.borrow_mut().on(input, &environment);
        outputs.into_iter().for_each(|output| self.perform(output));
    }

    fn perform(self: &Rc<Self>, output: Output) {
        match output {
            Output::Open => match self.open_socket() {
                Some(open) => drop(self.socket.replace(Some(open))),
                None => self.on(Input::Lost),
            },
            Output::Drop => self.drop_socket(),
            Output::Close => {
                if let Some(open) = self.socket.borrow().as_ref() {
                    let _ = open.socket.close_with_code(NORMAL_CLOSE);
                }
            }
            Output::Probe { number } => {
                self.request("/healthz", move |client, reply| {
                    let is_there = reply.is_some_and(|reply| reply.is_ok());
                    client.on(Input::ProbeAnswered { number, is_there });
                });
            }
            Output::ExplainHandshake => {
                self.request(ADDRESS, |client, reply| {
                    let is_starting = reply.as_ref().and_then(polling::refusal) == Some(Problem::Restarting);
                    let too_many = reply.filter(|reply| reply.status == TOO_MANY_REQUESTS);
                    let retry_after = too_many.map(|reply| reply.retry_after.unwrap_or(PAUSE_SECONDS));
                    client.on(match is_starting {
                        true => Input::ServerStarting,
                        false => Input::HandshakeExplained { retry_after },
                    });
                });
            }
            Output::Greet => self.greet(),
            Output::Ping => self.send(&ClientFrame::Ping {}),
            Output::Resubscribe { from_cursor } => {
                if let Some(chat) = self.page.chat() {
                    self.subscribe(chat, from_cursor.then(|| chat.cursor()));
                }
            }
            Output::RetryRefused => {
                if let Some(chat) = self.page.chat() {
                    chat.retry_transient();
                }
            }
            Output::SendWaiting => self.send_waiting(),
            Output::Pause { millis } => self.pause(millis),
            Output::RetryIn { millis } => {
                let millis = i32::try_from(millis).unwrap_or(i32::MAX);
                self.set_timer(&self.retry, millis, |client| client.on(Input::Connect));
            }
            Output::StopRetry => drop(self.retry.take()),
            Output::ExpectAnswer { millis, is_ping } => {
                let millis = i32::try_from(millis).unwrap_or(i32::MAX);
                self.set_timer(&self.answer_due, millis, move |client| {
                    let _over = client.answer_due.take();
                    client.on(Input::AnswerDue { is_ping });
                });
            }
            Output::StopExpecting => drop(self.answer_due.take()),
            Output::StartPolling => self.polling.start(),
            Output::StopPolling => self.polling.stop(),
            Output::Poll => self.polling.poll(),
            Output::Show(connection) => {
                self.page.live().connection.set(connection);
                self.mark_stale_later();
            }
            Output::MarkFresh => {
                self.stale.take();
                self.page.live().is_stale.set(false);
            }
        }
    }

    /// Sends an ordinary request, and calls `answered` with the response.
    fn request(self: &Rc<Self>, address: &str, answered: impl FnOnce(&Rc<Self>, Option<Reply>) + 'static) {
        let weak = Rc::downgrade(self);
        let reply = move |reply| {
            if let Some(client) = weak.upgrade() {
                answered(&client, reply);
            }
        };
        browser::request(address, None, PROBE_TIMEOUT, Box::new(reply));
    }

    /// Starts a timer in place of the one before.
    fn set_timer(
        self: &Rc<Self>,
        timer: &RefCell<Option<Timer>>,
        millis: i32,
        mut act: impl FnMut(&Rc<Self>) + 'static,
    ) {
        let weak = Rc::downgrade(self);
        let new = Timer::once(millis, move || {
            if let Some(client) = weak.upgrade() {
                act(&client);
            }
        });
        timer.replace(new);
    }

    fn open_socket(self: &Rc<Self>) -> Option<OpenSocket> {
        let location = browser::window()?.location();
        let scheme = if location.protocol().ok()? == "https:" { "wss" } else { "ws" };
        let socket = WebSocket::new(&format!("{scheme}://{}{ADDRESS}", location.host().ok()?)).ok()?;

        let weak = Rc::downgrade(self);
        let on_open = Closure::<dyn FnMut()>::new(move || {
            if let Some(client) = weak.upgrade() {
                client.on(Input::Opened);
            }
        });
        let weak = Rc::downgrade(self);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(client) = weak.upgrade() {
                client.receive(&event.data());
            }
        });
        let weak = Rc::downgrade(self);
        let on_close = Closure::<dyn FnMut(CloseEvent)>::new(move |_| {
            if let Some(client) = weak.upgrade() {
                client.on(Input::Lost);
            }
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Some(OpenSocket {
            socket,
            in_flight: InFlight::default(),
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
        })
    }

    /// Drops the socket. Commands that wait for an answer fail with [`Problem::AnswerLost`]; messages wait for the next
    /// connection.
    fn drop_socket(&self) {
        let open = self.socket.take();
        let abandoned = open.map(|mut open| open.in_flight.abandon()).unwrap_or_default();
        abandoned.into_iter().for_each(|done| done(Err(Problem::AnswerLost)));
        if let Some(chat) = self.page.chat() {
            chat.loading.set(false);
            chat.clear_typing();
        }
    }

    /// Sends all requests at the start of a connection at once, without waiting for the welcome: the hello, and
    /// subscriptions to what the page shows.
    fn greet(self: &Rc<Self>) {
        self.send(&ClientFrame::Hello { version: VERSION });
        if let Some(chat) = self.page.chat() {
            self.subscribe(chat, Some(chat.cursor()));
        }
        self.send(&ClientFrame::Lobby(self.page.lobby_query()));
    }

    fn subscribe(self: &Rc<Self>, chat: LiveChat, after: Option<Cursor>) {
        self.send(&ClientFrame::Watch { chat: chat.chat_id(), after });
    }

    fn send_waiting(self: &Rc<Self>) {
        for message in self.page.chat().map(LiveChat::outgoing).unwrap_or_default() {
            self.post(&message);
        }
    }

    fn pause(self: &Rc<Self>, millis: i32) {
        if let Some(chat) = self.page.chat() {
            chat.is_held.set(millis > 0);
        }
        if millis > 0 {
            self.set_timer(&self.pause, millis, |client| {
                let _over = client.pause.take();
                client.on(Input::PauseOver);
            });
        } else {
            self.pause.take();
        }
    }

    fn post(self: &Rc<Self>, message: &Pending) {
        if self.polling.is_on() {
            return self.polling.post();
        }
        let Some(chat) = self.page.chat().filter(|_| self.state.borrow().can_post()) else { return };
        let now = self.page.live().server_time();
        let frame =
            self.socket.borrow_mut().as_mut().map(|open| open.in_flight.post(chat.chat_id(), message, now));
        if let Some(frame) = frame.flatten() {
            self.send(&frame);
        }
    }

    fn ask(self: &Rc<Self>, ask: ClientCommand, done: AnswerCallback) {
        if self.polling.is_on() {
            return self.polling.ask(&ask, done);
        }
        let is_open = self.state.borrow().is_open();
        let frame = match self.socket.borrow_mut().as_mut().filter(|_| is_open) {
            Some(open) => Ok(open.in_flight.ask(ask, done)),
            None => Err(done),
        };
        match frame {
            Ok(Some(frame)) => self.send(&frame),
            Ok(None) => {}
            Err(done) => done(Err(Problem::NotConnected)),
        }
    }

    fn ask_json(self: &Rc<Self>, command: String, done: PieceCallback) {
        if self.polling.is_on() {
            return self.polling.ask_json(command, done);
        }
        let is_open = self.state.borrow().is_open();
        let text = match self.socket.borrow_mut().as_mut().filter(|_| is_open) {
            Some(open) => Ok(open.in_flight.ask_json(&command, done)),
            None => Err(done),
        };
        match text {
            Ok(Some(text)) => self.send_text(&text),
            Ok(None) => {}
            Err(done) => done(Err(Problem::NotConnected)),
        }
    }

    fn send(self: &Rc<Self>, frame: &ClientFrame) {
        if let Some(text) = json::text(frame) {
            self.send_text(&text);
        }
    }

    fn send_text(self: &Rc<Self>, text: &str) {
        if !self.state.borrow().is_open() {
            return;
        }
        if let Some(open) = self.socket.borrow().as_ref() {
            // A frame that cannot be sent now is sent again after the reconnect that follows.
            let _ = open.socket.send_with_str(text);
        }
        self.on(Input::Sent);
    }

    fn receive(self: &Rc<Self>, text: &JsValue) {
        if browser::is_stopped() {
            return self.on(Input::GiveUp);
        }
        self.on(Input::Received);
        // Unknown frames are ignored. A newer server that does not support this version refuses it in a frame that is
        // known here.
        let Some(frame) = json::parse::<ServerFrame>(text) else { return };
        match frame {
            ServerFrame::Done { request, seq } => match self.take_answered(request) {
                Some(Waiting::Message(client_id)) => {
                    if let Some(chat) = self.page.chat() {
                        chat.mark_stored(client_id, seq);
                    }
                }
                Some(Waiting::Ask(done)) => done(Ok(())),
                Some(Waiting::Piece(done)) => done(Ok(seq)),
                None => {}
            },
            ServerFrame::Refused { request: Some(request), problem, .. } => {
                match (self.take_answered(request), problem) {
                    // The message waits, and those after it as well, to keep their order.
                    (Some(Waiting::Message(_)), problem)
                        if problem.is_passing() && problem != Problem::StorageFull =>
                    {
                        self.on(Input::Pause(problem.retry_after().unwrap_or(PAUSE_SECONDS)));
                    }
                    (Some(Waiting::Message(client_id)), problem) => {
                        if let Some(chat) = self.page.chat() {
                            chat.mark_refused(client_id, problem);
                        }
                    }
                    (Some(Waiting::Ask(done)), problem) => done(Err(problem)),
                    (Some(Waiting::Piece(done)), problem) => done(Err(problem)),
                    (None, _) => {}
                }
            }
            frame => self.apply(frame),
        }
    }

    fn apply(self: &Rc<Self>, frame: ServerFrame) {
        let up_to_date = match &frame {
            ServerFrame::Resumed { .. } => Some(Repair::Resumed),
            ServerFrame::Lobby(_) if self.page.chat().is_none() => Some(Repair::Whole),
            ServerFrame::Snapshot { .. } | ServerFrame::Event(_) => Some(Repair::Whole),
            _ => None,
        };
        let is_welcome = matches!(frame, ServerFrame::Welcome { .. });
        if let ServerFrame::Refused { request: None, chat: None, problem: Problem::Restarting } = frame
            && let Some(seconds) = Problem::Restarting.retry_after()
        {
            self.on(Input::RetryAfter(seconds));
        }
        match self.page.receive(frame) {
            FrameAction::Continue => {
                if is_welcome {
                    self.on(Input::Welcomed);
                }
                if let Some(repair) = up_to_date {
                    self.on(Input::UpToDate(repair));
                }
            }
            FrameAction::Resubscribe => self.on(Input::Gap),
            FrameAction::Reconnect => self.on(Input::Lost),
            FrameAction::Close => self.on(Input::GiveUp),
        }
    }

    fn take_answered(&self, request: u64) -> Option<Waiting> {
        self.socket.borrow_mut().as_mut().and_then(|open| open.in_flight.take_answered(request))
    }

    /// Marks presence and counts as possibly outdated, unless the connection is back soon.
    fn mark_stale_later(self: &Rc<Self>) {
        if self.stale.borrow().is_some() {
            return;
        }
        let live = self.page.live();
        self.set_timer(&self.stale, STALE_MILLIS, move |client| {
            let _over = client.stale.take();
            let is_disconnected =
                matches!(live.connection.get_untracked(), Connection::Reconnecting | Connection::Offline);
            live.is_stale.set(is_disconnected);
        });
    }
}
