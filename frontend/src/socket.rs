//! The one socket of the page: opens it, follows what the page shows, and comes back by itself.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};

use app::live::{Answered, Connection, FrameAction, LiveChat, LivePage, Transport};
use domain::{
    ClientId, Problem, Seq, Timestamp, backoff,
    frame::{Ask, ClientFrame, Cursor, SILENCE_SECONDS, ServerFrame, VERSION},
    lobby::LobbyQuery,
    timeline::Pending,
};
use leptos::prelude::*;
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use web_sys::{BeforeUnloadEvent, CloseEvent, Event, EventTarget, MessageEvent, WebSocket};

use crate::{
    browser::{self, Reply, Timer},
    json,
    outbox::{Outbox, Waiting},
    polling::Polling,
    storage,
};

/// How often silence and a stuck handshake are looked for.
const WATCH_MILLIS: i32 = 5_000;
/// A handshake that takes longer is given up.
const HANDSHAKE_MILLIS: u64 = 10_000;
/// After so long a handshake may be one that nobody will ever answer: it is asked whether the server is there.
const SLOW_HANDSHAKE_MILLIS: u64 = 4_000;
/// What is wanted of the connection is answered within this time, or it is asked whether it lives; and that as well, or it is
/// replaced. On slow networks both take [`PATIENCE_HANDSHAKES`] times as long as the handshake took, and up to
/// [`LONGEST_TIMEOUT_MILLIS`].
const PATIENCE_MILLIS: u64 = 2_000;
const PATIENCE_HANDSHAKES: u64 = 4;
const LONGEST_TIMEOUT_MILLIS: u64 = 10_000;
/// How long the server may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// So many handshakes in a row that fail, though the server answers other requests, mean that no WebSocket comes through here.
const REFUSED_HANDSHAKES: u32 = 2;
/// What is known of others is shown as known for so long after the connection was lost: a tunnel is no news.
const DOUBT_MILLIS: i32 = 2_000;
/// A clock that went on for so much longer than the page did tells that the device slept.
const SLEPT_MILLIS: u64 = 15_000;
/// What could not be stored just now is sent again after so many seconds.
const REST_SECONDS: u32 = 2;
/// After so many attempts in vain a page asks first whether the server is there. Browsers let WebSockets wait for seconds
/// whose forerunners failed (Chromium: `websocket_throttler.cc`), and nothing else.
const PROBE_AFTER: u32 = 2;
/// Where the socket is.
const ADDRESS: &str = "/live";
/// The status of a request that came too soon (RFC 6585, section 4).
const TOO_MANY_REQUESTS: u16 = 429;
/// The server is shutting down or restarting in order (RFC 6455, section 7.4).
const NORMAL_CLOSE: u16 = 1000;

thread_local! {
    static OPEN: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
}

/// Closes the connection of this instance, where that can still be done.
pub(crate) fn close() {
    if let Some(inner) = OPEN.with(|open| open.borrow().upgrade()) {
        inner.give_up();
    }
}

/// The socket of a live page. The browser has one thread, which is all that may touch it.
pub(crate) struct Socket(SendWrapper<Rc<Inner>>);

struct Inner {
    scene: LivePage,
    wire: RefCell<Option<Wire>>,
    attempts: Cell<u32>,
    /// After how many milliseconds to come back, where the server said so.
    told: Cell<Option<u32>>,
    retry: RefCell<Option<Timer>>,
    /// Since when the server is asked whether it is there.
    probing: Cell<Option<u64>>,
    /// How often it was: an answer to a question before that is not waited for any more.
    probes: Cell<u32>,
    /// Messages wait for its end, since the server could not take them just now.
    rest: RefCell<Option<Timer>>,
    given_up: Cell<bool>,
    /// How many handshakes in a row failed though the server was there.
    refused: Cell<u32>,
    polling: Rc<Polling>,
    /// An answer is waited for until its end.
    answer_due: RefCell<Option<Timer>>,
    /// What is known is in doubt at its end.
    doubt: RefCell<Option<Timer>>,
    /// When silence was last looked for, by the clock of the device.
    looked_at: Cell<Timestamp>,
    _watchdog: RefCell<Option<Timer>>,
    _listeners: RefCell<Vec<Listener>>,
}

/// What is done about a hole in the timeline. It should never come to it; if it does, one question at a time is asked,
/// and a second hole is answered by starting over, so that no page can ask without end.
#[derive(Clone, Copy, PartialEq)]
enum Repair {
    /// There is no hole.
    Whole,
    /// The server was asked to go on from the cursor, or to start over, and has not answered.
    Asked,
    /// It went on, and no event has fitted since.
    Resumed,
}

/// One connection, from its handshake to its end.
struct Wire {
    socket: WebSocket,
    outbox: Outbox,
    dialed: u64,
    /// When something was last heard, and when the first was sent that was not answered since, or the last that was; in
    /// milliseconds since the page was loaded.
    last_heard: u64,
    last_sent: u64,
    /// How long an answer may take, in milliseconds.
    patience: u64,
    /// Whether the server was there a moment before.
    is_server_there: bool,
    is_open: bool,
    is_welcome: bool,
    repair: Repair,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close_with_code(NORMAL_CLOSE);
    }
}

/// Something the browser tells, for as long as this lives.
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
    /// Connects a live page, and keeps it connected for as long as the page is there.
    pub(crate) fn open(scene: LivePage) -> Self {
        scene.live().is_visible.set(browser::is_visible());
        // every time of day on the page changes by that, which is more than to connect
        let _ = set_timeout(move || scene.live().offset_minutes.set(browser::offset_minutes), Duration::ZERO);
        let inner = Rc::new(Inner {
            scene,
            wire: RefCell::new(None),
            attempts: Cell::new(0),
            told: Cell::new(None),
            retry: RefCell::new(None),
            probing: Cell::new(None),
            probes: Cell::new(0),
            rest: RefCell::new(None),
            given_up: Cell::new(false),
            refused: Cell::new(0),
            polling: Polling::new(scene),
            answer_due: RefCell::new(None),
            doubt: RefCell::new(None),
            looked_at: Cell::new(browser::now()),
            _watchdog: RefCell::new(None),
            _listeners: RefCell::new(Vec::new()),
        });
        OPEN.with(|open| open.replace(Rc::downgrade(&inner)));
        inner.listen();
        inner.connect();
        Self(SendWrapper::new(inner))
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

    fn ask(&self, ask: Ask, done: Answered) {
        self.0.ask(ask, done);
    }

    fn typing(&self) {
        if let Some(chat) = self.0.scene.chat() {
            self.0.send(&ClientFrame::Typing { chat: chat.chat_id() });
        }
    }

    fn earlier(&self, before: Seq) -> bool {
        let is_open = self.0.wire.borrow().as_ref().is_some_and(|wire| wire.is_open);
        let chat = self.0.scene.chat().filter(|_| is_open);
        if let Some(chat) = chat {
            self.0.send(&ClientFrame::Earlier { chat: chat.chat_id(), before });
        }
        chat.is_some()
    }

    fn later(&self, after: Seq) -> bool {
        let is_open = self.0.wire.borrow().as_ref().is_some_and(|wire| wire.is_open);
        let chat = self.0.scene.chat().filter(|_| is_open);
        if let Some(chat) = chat {
            self.0.send(&ClientFrame::Later { chat: chat.chat_id(), after });
        }
        chat.is_some()
    }

    fn lobby(&self, wanted: &LobbyQuery, address: &str) {
        browser::show_address(address);
        self.0.send(&ClientFrame::Lobby(wanted.clone()));
        self.0.polling.look();
    }

    fn reconnect_now(&self) {
        self.0.reconnect_now();
    }

    fn check_reachable(&self, done: Box<dyn FnOnce(bool)>) {
        browser::request(
            "/healthz",
            None,
            PROBE_TIMEOUT,
            Box::new(|reply| done(reply.is_some_and(|reply| reply.is_ok()))),
        );
    }

    fn draft(&self) -> Option<String> {
        storage::draft(self.0.scene.chat()?.chat_id())
    }

    fn keep_draft(&self, text: &str) {
        if let Some(chat) = self.0.scene.chat() {
            storage::keep_draft(chat.chat_id(), text);
        }
    }

    fn waiting(&self) -> Vec<Pending> {
        self.0.scene.chat().map(|chat| storage::waiting(chat.chat_id())).unwrap_or_default()
    }

    fn keep_waiting(&self, waiting: &[Pending]) {
        if let Some(chat) = self.0.scene.chat() {
            storage::keep_waiting(chat.chat_id(), waiting);
        }
    }

    fn has_keyboard(&self) -> bool {
        browser::has_keyboard()
    }

    fn is_nowhere(&self) -> bool {
        browser::is_nowhere()
    }

    fn copy_link(&self, done: Box<dyn FnOnce(bool)>) {
        // a device that one holds has a sheet for this; where one points with a mouse, the clipboard is quicker
        if browser::has_keyboard() || !browser::share_link() {
            browser::copy_link(done);
        }
    }
}

impl Inner {
    fn listen(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let watchdog = Timer::every(WATCH_MILLIS, move || {
            if let Some(inner) = weak.upgrade() {
                inner.look_for_sleep();
                inner.look_for_silence();
                inner.scene.tick();
            }
        });
        *self._watchdog.borrow_mut() = watchdog;

        let Some(window) = browser::window() else { return };
        let document = window.document().map(EventTarget::from);
        let on = |target: EventTarget, event, action: fn(&Rc<Self>, &Event)| {
            let weak = Rc::downgrade(self);
            let listener = Listener::new(target, event, move |event| {
                if let Some(inner) = weak.upgrade() {
                    action(&inner, &event);
                }
            });
            self._listeners.borrow_mut().extend(listener);
        };
        on(window.clone().into(), "online", |inner, _| inner.reconnect_now());
        on(window.clone().into(), "offline", |inner, _| {
            inner.polling.stop();
            inner.lost();
        });
        // a page that the browser kept and shows again, as it was left
        on(window.clone().into(), "pageshow", |inner, _| {
            inner.scene.live().shown_again.update(|times| *times += 1);
            inner.reconnect_now();
        });
        // what waits is kept for the tab, and goes with it
        on(window.into(), "beforeunload", |inner, event| {
            if inner.scene.chat().is_some_and(LiveChat::has_waiting) {
                event.prevent_default();
                if let Some(event) = event.dyn_ref::<BeforeUnloadEvent>() {
                    event.set_return_value("waiting");
                }
            }
        });
        if let Some(document) = document {
            on(document, "visibilitychange", |inner, _| {
                inner.scene.live().is_visible.set(browser::is_visible());
                if browser::is_visible() {
                    inner.look_for_silence();
                    inner.scene.tick();
                    inner.reconnect_now();
                }
            });
        }
    }

    fn connect(self: &Rc<Self>) {
        if self.wire.borrow().is_some() || self.given_up.get() || self.probing.get().is_some() {
            return;
        }
        *self.retry.borrow_mut() = None;
        if self.attempts.get() <= PROBE_AFTER {
            return self.open(false);
        }
        self.probe(|inner, is_there| {
            if !is_there {
                return inner.lost();
            }
            if inner.refused.get() == 0 {
                return inner.open(true);
            }
            inner.ask_why();
        });
    }

    /// Asks whether the server is there.
    fn probe(self: &Rc<Self>, then: fn(&Rc<Self>, bool)) {
        let probe = self.probes.get().wrapping_add(1);
        self.probes.set(probe);
        self.probing.set(Some(browser::uptime_millis()));
        let weak = Rc::downgrade(self);
        let answered = move |reply: Option<Reply>| {
            let inner = weak.upgrade().filter(|inner| inner.probes.get() == probe);
            if let Some(inner) = inner.filter(|inner| inner.probing.take().is_some()) {
                then(&inner, reply.is_some_and(|reply| reply.is_ok()));
            }
        };
        browser::request("/healthz", None, PROBE_TIMEOUT, Box::new(answered));
    }

    /// A page cannot see why a handshake failed, but it can ask for the same without one: whoever came too often is told when to
    /// come back.
    fn ask_why(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let answered = move |reply: Option<Reply>| {
            let Some(inner) = weak.upgrade() else { return };
            match reply.filter(|reply| reply.status == TOO_MANY_REQUESTS).map(|reply| reply.retry_after) {
                Some(wait) => {
                    let millis = wait.unwrap_or(REST_SECONDS).saturating_mul(1_000);
                    inner.told.set(Some(millis.saturating_add(backoff::told_millis(1, browser::chance()))));
                    inner.polling.start();
                    inner.lost();
                }
                None => inner.open(true),
            }
        };
        browser::request(ADDRESS, None, PROBE_TIMEOUT, Box::new(answered));
    }

    fn open(self: &Rc<Self>, is_server_there: bool) {
        if self.wire.borrow().is_some() {
            return;
        }
        match self.open_socket(is_server_there) {
            Some(wire) => *self.wire.borrow_mut() = Some(wire),
            None => self.lost(),
        }
    }

    fn open_socket(self: &Rc<Self>, is_server_there: bool) -> Option<Wire> {
        let location = browser::window()?.location();
        let scheme = if location.protocol().ok()? == "https:" { "wss" } else { "ws" };
        let socket = WebSocket::new(&format!("{scheme}://{}{ADDRESS}", location.host().ok()?)).ok()?;

        let weak = Rc::downgrade(self);
        let on_open = Closure::<dyn FnMut()>::new(move || {
            if let Some(inner) = weak.upgrade() {
                inner.opened();
            }
        });
        let weak = Rc::downgrade(self);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(inner) = weak.upgrade() {
                inner.heard(&event.data());
            }
        });
        let weak = Rc::downgrade(self);
        let on_close = Closure::<dyn FnMut(CloseEvent)>::new(move |_| {
            if let Some(inner) = weak.upgrade() {
                inner.lost();
            }
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Some(Wire {
            socket,
            outbox: Outbox::default(),
            dialed: browser::uptime_millis(),
            last_heard: browser::uptime_millis(),
            last_sent: 0,
            patience: PATIENCE_MILLIS,
            is_server_there,
            is_open: false,
            is_welcome: false,
            repair: Repair::Whole,
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
        })
    }

    /// What can be asked is asked at once, without waiting for answers: who we are, and from where to go on.
    fn opened(self: &Rc<Self>) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            let now = browser::uptime_millis();
            wire.is_open = true;
            wire.last_heard = now;
            let slow = (now - wire.dialed).saturating_mul(PATIENCE_HANDSHAKES);
            wire.patience = slow.clamp(PATIENCE_MILLIS, LONGEST_TIMEOUT_MILLIS);
        }
        self.send(&ClientFrame::Hello { version: VERSION });
        if let Some(chat) = self.scene.chat() {
            self.watch(chat, Some(chat.cursor()));
        }
        self.send(&ClientFrame::Lobby(self.scene.wanted()));
    }

    /// What waits goes out once it is known who one is: a nickname that was forgotten meanwhile is asked for first.
    fn welcomed(self: &Rc<Self>) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.is_welcome = true;
        }
        self.refused.set(0);
        self.polling.stop();
        if let Some(chat) = self.scene.chat() {
            chat.retry_transient();
        }
        self.post_all();
    }

    fn post_all(self: &Rc<Self>) {
        for message in self.scene.chat().map(LiveChat::on_their_way).unwrap_or_default() {
            self.post(&message);
        }
    }

    /// What waits goes out after a rest, in order.
    fn rest(self: &Rc<Self>, seconds: u32) {
        if self.rest.borrow().is_some() {
            return;
        }
        let weak = Rc::downgrade(self);
        let millis = i32::try_from(seconds).unwrap_or(i32::MAX).saturating_mul(1_000);
        self.hold(true);
        *self.rest.borrow_mut() = Timer::once(millis, move || {
            if let Some(inner) = weak.upgrade() {
                // the timer that this belongs to is let go when everything is done
                let _over = inner.rest.borrow_mut().take();
                inner.hold(false);
                inner.post_all();
            }
        });
    }

    /// Says that what waits is held back, or that it is not any more.
    fn hold(&self, is_held: bool) {
        if let Some(chat) = self.scene.chat() {
            chat.is_held.set(is_held);
        }
    }

    fn watch(self: &Rc<Self>, chat: LiveChat, after: Option<Cursor>) {
        self.send(&ClientFrame::Watch { chat: chat.chat_id(), after });
    }

    fn repair(self: &Rc<Self>) {
        let Some(chat) = self.scene.chat() else { return };
        let before = match self.wire.borrow_mut().as_mut() {
            Some(wire) => std::mem::replace(&mut wire.repair, Repair::Asked),
            None => return,
        };
        match before {
            Repair::Whole => self.watch(chat, Some(chat.cursor())),
            Repair::Asked => {}
            Repair::Resumed => self.watch(chat, None),
        }
    }

    fn repaired(&self, repair: Repair) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.repair = repair;
        }
    }

    fn post(self: &Rc<Self>, message: &Pending) {
        if self.polling.is_on() {
            return self.polling.post();
        }
        let Some(chat) = self.scene.chat() else { return };
        let frame = match self.wire.borrow_mut().as_mut() {
            Some(wire) if wire.is_welcome && self.rest.borrow().is_none() => {
                wire.outbox.post(chat.chat_id(), message, self.scene.live().server_time())
            }
            _ => None,
        };
        if let Some(frame) = frame {
            self.send(&frame);
        }
    }

    fn ask(self: &Rc<Self>, ask: Ask, done: Answered) {
        if self.polling.is_on() {
            return self.polling.ask(&ask, done);
        }
        let frame = match self.wire.borrow_mut().as_mut() {
            Some(wire) if wire.is_open => Ok(wire.outbox.ask(ask, done)),
            _ => Err(done),
        };
        match frame {
            Ok(Some(frame)) => self.send(&frame),
            Ok(None) => {}
            Err(done) => done(Err(Problem::NotConnected)),
        }
    }

    fn send(self: &Rc<Self>, frame: &ClientFrame) {
        let patience = {
            let mut wire = self.wire.borrow_mut();
            let open = wire.as_mut().filter(|wire| wire.is_open);
            let (Some(wire), Some(text)) = (open, json::text(frame)) else { return };
            // what cannot be sent now is sent again after the reconnect that follows
            let _ = wire.socket.send_with_str(&text);
            // since the first that was not answered, however much follows
            if wire.last_sent <= wire.last_heard {
                wire.last_sent = browser::uptime_millis();
            }
            wire.patience
        };
        self.expect_answer(patience, false);
    }

    /// Looks, after so many milliseconds, whether anything was heard since something was sent.
    fn expect_answer(self: &Rc<Self>, patience: u64, is_asked: bool) {
        let weak = Rc::downgrade(self);
        let mut due = self.answer_due.borrow_mut();
        if is_asked || due.is_none() {
            let millis = i32::try_from(patience).unwrap_or(i32::MAX);
            *due = Timer::once(millis, move || {
                if let Some(inner) = weak.upgrade() {
                    let _over = inner.answer_due.take();
                    inner.look_for_answer(is_asked);
                }
            });
        }
    }

    /// A connection on which something was wanted and nothing was heard is asked whether it lives, and replaced where it does not
    /// say so.
    fn look_for_answer(self: &Rc<Self>, is_asked: bool) {
        let now = browser::uptime_millis();
        let silent = match self.wire.borrow().as_ref() {
            Some(wire) if wire.is_open && wire.last_heard < wire.last_sent => {
                Some((wire.last_sent + wire.patience).saturating_sub(now))
            }
            _ => None,
        };
        match silent {
            None => {}
            Some(left) if left > 0 => self.expect_answer(left, is_asked),
            Some(_) if is_asked => self.replace(),
            Some(_) => self.ask_for_life(),
        }
    }

    /// Asks the connection whether it lives, with a short patience.
    fn ask_for_life(self: &Rc<Self>) {
        self.send(&ClientFrame::Ping {});
        let patience = self.wire.borrow().as_ref().filter(|wire| wire.is_open).map(|wire| wire.patience);
        if let Some(patience) = patience {
            self.expect_answer(patience, true);
        }
    }

    /// A connection that is dead makes room for another one now.
    fn replace(self: &Rc<Self>) {
        self.lost();
        self.connect();
    }

    fn heard(self: &Rc<Self>, text: &JsValue) {
        if browser::is_stopped() {
            return self.give_up();
        }
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.last_heard = browser::uptime_millis();
        }
        // a frame this page does not know comes from a newer server, which tells so in its own words
        let Some(frame) = json::parse::<ServerFrame>(text) else { return };
        match frame {
            ServerFrame::Done { request, seq } => match self.answered(request) {
                Some(Waiting::Message(client_id)) => {
                    if let Some(chat) = self.scene.chat() {
                        chat.stored(client_id, seq);
                    }
                }
                Some(Waiting::Ask(done)) => done(Ok(())),
                None => {}
            },
            ServerFrame::Refused { request: Some(request), problem, .. } => {
                match (self.answered(request), problem) {
                    // it waits, and so does everything behind it
                    (Some(Waiting::Message(_)), problem)
                        if problem.is_passing() && problem != Problem::StorageFull =>
                    {
                        self.rest(problem.retry_after().unwrap_or(REST_SECONDS));
                    }
                    (Some(Waiting::Message(client_id)), problem) => {
                        if let Some(chat) = self.scene.chat() {
                            chat.refused(client_id, problem);
                        }
                    }
                    (Some(Waiting::Ask(done)), problem) => done(Err(problem)),
                    (None, _) => {}
                }
            }
            frame => self.follow(frame),
        }
    }

    fn follow(self: &Rc<Self>, frame: ServerFrame) {
        let repaired = match &frame {
            ServerFrame::Resumed { .. } => Some(Repair::Resumed),
            ServerFrame::Lobby(_) if self.scene.chat().is_none() => Some(Repair::Whole),
            ServerFrame::Snapshot { .. } | ServerFrame::Event(_) => Some(Repair::Whole),
            _ => None,
        };
        let is_welcome = matches!(frame, ServerFrame::Welcome { .. });
        if let ServerFrame::Refused { request: None, chat: None, problem: Problem::Restarting } = frame {
            let within = Problem::Restarting.retry_after();
            self.told.set(within.map(|seconds| backoff::told_millis(seconds, browser::chance())));
        }
        match self.scene.receive(frame) {
            FrameAction::Continue => {
                if is_welcome {
                    self.welcomed();
                }
                if let Some(repaired) = repaired {
                    self.repaired(repaired);
                    self.attempts.set(0);
                    self.doubt.take();
                    self.scene.live().is_in_doubt.set(false);
                }
            }
            FrameAction::Resubscribe => self.repair(),
            FrameAction::Reconnect => self.lost(),
            FrameAction::Close => self.give_up(),
        }
    }

    fn answered(&self, request: u64) -> Option<Waiting> {
        self.wire.borrow_mut().as_mut().and_then(|wire| wire.outbox.answered(request))
    }

    fn lost(self: &Rc<Self>) {
        *self.rest.borrow_mut() = None;
        self.answer_due.take();
        self.hold(false);
        self.probing.set(None);
        let wire = self.wire.borrow_mut().take();
        if wire.as_ref().is_some_and(|wire| wire.is_server_there && !wire.is_welcome) {
            self.refused.set(self.refused.get() + 1);
        }
        let abandoned = wire.map(|mut wire| wire.outbox.abandon()).unwrap_or_default();
        abandoned.into_iter().for_each(|done| done(Err(Problem::AnswerLost)));
        if let Some(chat) = self.scene.chat() {
            chat.loading.set(false);
            chat.nobody_types();
        }
        if self.given_up.get() || self.scene.live().ended.with_untracked(Option::is_some) {
            return;
        }
        // What the device says of its network is a hint, and wrong at times: it is shown, and does not keep from trying.
        let online = browser::is_online();
        if self.refused.get() >= REFUSED_HANDSHAKES && online {
            self.polling.start();
        }
        if !self.polling.is_on() {
            let state = if online { Connection::Reconnecting } else { Connection::Offline };
            self.scene.live().connection.set(state);
            self.begin_to_doubt();
        }
        let attempt = self.attempts.get();
        self.attempts.set(attempt.saturating_add(1));
        let weak = Rc::downgrade(self);
        let wait = match self.told.take() {
            Some(millis) => millis,
            // nobody waits for the socket where the page is followed without
            None if self.polling.is_on() => backoff::wait_millis(u32::MAX, browser::chance(), online),
            None => backoff::wait_millis(attempt, browser::chance(), online),
        };
        *self.retry.borrow_mut() = Timer::once(i32::try_from(wait).unwrap_or(i32::MAX), move || {
            if let Some(inner) = weak.upgrade() {
                inner.connect();
            }
        });
    }

    /// What is known is not shown as known any more, unless the connection is back soon.
    fn begin_to_doubt(self: &Rc<Self>) {
        let mut doubt = self.doubt.borrow_mut();
        if doubt.is_none() {
            let (live, weak) = (self.scene.live(), Rc::downgrade(self));
            *doubt = Timer::once(DOUBT_MILLIS, move || {
                let _over = weak.upgrade().and_then(|inner| inner.doubt.take());
                let is_cut_off =
                    matches!(live.connection.get_untracked(), Connection::Reconnecting | Connection::Offline);
                live.is_in_doubt.set(is_cut_off);
            });
        }
    }

    /// There is reason to believe that it works now, or that it does not any more.
    fn reconnect_now(self: &Rc<Self>) {
        self.polling.look();
        let now = browser::uptime_millis();
        let wire =
            self.wire.borrow().as_ref().map(|wire| (wire.is_open, now - wire.dialed > PATIENCE_MILLIS));
        match wire {
            Some((true, _)) => self.ask_for_life(),
            // it may have been begun on another network
            Some((false, true)) => self.replace(),
            Some((false, false)) => {}
            None => {
                let is_slow = |since: u64| now.saturating_sub(since) > PATIENCE_MILLIS;
                self.probing.set(self.probing.get().filter(|since| !is_slow(*since)));
                self.connect();
            }
        }
    }

    /// A device that slept comes back without a word; what it was connected to may have gone.
    fn look_for_sleep(self: &Rc<Self>) {
        let now = browser::now();
        let passed = now.millis_since(self.looked_at.replace(now));
        if passed > WATCH_MILLIS as u64 + SLEPT_MILLIS && browser::is_visible() {
            self.reconnect_now();
        }
    }

    fn look_for_silence(self: &Rc<Self>) {
        let now = browser::uptime_millis();
        let wire = self.wire.borrow().as_ref().map(|wire| (wire.is_open, now - wire.last_heard));
        let is_silent = wire.is_some_and(|(is_open, silence)| {
            silence > if is_open { SILENCE_SECONDS * 1_000 } else { HANDSHAKE_MILLIS }
        });
        let is_unanswered = self.probing.get().is_some_and(|since| now - since > HANDSHAKE_MILLIS);
        if is_silent || is_unanswered {
            return self.lost();
        }
        let is_slow = wire.is_some_and(|(is_open, silence)| !is_open && silence > SLOW_HANDSHAKE_MILLIS);
        if is_slow && self.probing.get().is_none() && !self.polling.is_on() {
            self.probe(|inner, is_there| {
                let is_stuck = inner.wire.borrow().as_ref().is_some_and(|wire| !wire.is_open);
                if is_there && is_stuck {
                    inner.polling.start();
                }
            });
        }
    }

    fn give_up(&self) {
        self.given_up.set(true);
        self.polling.stop();
        *self.retry.borrow_mut() = None;
        // the wire is let go by the event that is being handled now, which it must outlive
        if let Some(wire) = self.wire.borrow().as_ref() {
            let _ = wire.socket.close_with_code(NORMAL_CLOSE);
        }
    }
}
