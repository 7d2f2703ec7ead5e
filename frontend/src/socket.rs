//! The one socket of the page: opens it, follows what the page shows, and comes back by itself.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use app::live::{Answered, Connection, Courier, LiveChat, Next, Scene};
use domain::{
    ClientId, Problem, Seq, Timestamp, backoff,
    frame::{Ask, ClientFrame, Cursor, SILENCE_SECONDS, ServerFrame, VERSION},
    lobby::Wanted,
    timeline::Pending,
};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use web_sys::{CloseEvent, Event, EventTarget, MessageEvent, WebSocket};

use crate::{
    browser::{self, Timer},
    json,
    outbox::{Outbox, Waiting},
    storage,
    takeover::in_a_task,
};

/// How often silence and a stuck handshake are looked for.
const WATCH_MILLIS: i32 = 5_000;
/// A handshake that takes longer is given up.
const HANDSHAKE_MILLIS: u64 = 10_000;
/// What could not be stored just now is sent again after so many seconds.
const REST_SECONDS: u32 = 2;
/// After so many attempts in vain a page asks first whether the server is there. Browsers let WebSockets wait for seconds
/// whose forerunners failed (Chromium: `websocket_throttler.cc`), and nothing else.
const PROBE_AFTER: u32 = 2;
/// The server is shutting down or restarting in order (RFC 6455, section 7.4).
const NORMAL_CLOSE: u16 = 1000;

/// The socket of a live page. The browser has one thread, which is all that may touch it.
pub(crate) struct Socket(SendWrapper<Rc<Inner>>);

struct Inner {
    scene: Scene,
    wire: RefCell<Option<Wire>>,
    attempts: Cell<u32>,
    /// Within how many seconds the server said to come back, the last time it ended a connection.
    told: Cell<Option<u32>>,
    retry: RefCell<Option<Timer>>,
    /// Since when the server is asked whether it is there.
    probing: Cell<Option<Timestamp>>,
    /// How often it was: an answer to a question before that is not waited for any more.
    probes: Cell<u32>,
    /// Messages wait for its end, since the server could not take them just now.
    rest: RefCell<Option<Timer>>,
    given_up: Cell<bool>,
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
    last_heard: Timestamp,
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
    fn new(target: EventTarget, event: &'static str, action: impl FnMut(Event) + 'static) -> Option<Self> {
        let action = Closure::<dyn FnMut(Event)>::new(action);
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
    pub(crate) fn open(scene: Scene) -> Self {
        scene.live().is_visible.set(browser::is_visible());
        // every time of day on the page changes by that, which is more than to connect
        in_a_task(move || scene.live().offset_minutes.set(browser::offset_minutes));
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
            _watchdog: RefCell::new(None),
            _listeners: RefCell::new(Vec::new()),
        });
        inner.listen();
        inner.connect();
        Self(SendWrapper::new(inner))
    }
}

impl Courier for Socket {
    fn client_id(&self) -> ClientId {
        browser::client_id()
    }

    fn now(&self) -> Timestamp {
        browser::now()
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

    fn lobby(&self, wanted: &Wanted, address: &str) {
        browser::show_address(address);
        self.0.send(&ClientFrame::Lobby(wanted.clone()));
    }

    fn hurry(&self) {
        self.0.hurry();
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
                inner.look_for_silence();
                inner.scene.tick();
            }
        });
        *self._watchdog.borrow_mut() = watchdog;

        let Some(window) = browser::window() else { return };
        let document = window.document().map(EventTarget::from);
        let on = |target: EventTarget, event, action: fn(&Rc<Self>)| {
            let weak = Rc::downgrade(self);
            let listener = Listener::new(target, event, move |_| {
                if let Some(inner) = weak.upgrade() {
                    action(&inner);
                }
            });
            self._listeners.borrow_mut().extend(listener);
        };
        on(window.clone().into(), "online", Self::hurry);
        on(window.into(), "offline", Self::lost);
        if let Some(document) = document {
            on(document, "visibilitychange", |inner| {
                inner.scene.live().is_visible.set(browser::is_visible());
                if browser::is_visible() {
                    inner.look_for_silence();
                    inner.scene.tick();
                    inner.hurry();
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
            return self.open();
        }
        let probe = self.probes.get().wrapping_add(1);
        self.probes.set(probe);
        self.probing.set(Some(browser::now()));
        let weak = Rc::downgrade(self);
        browser::reach(move |is_there| {
            let inner = weak.upgrade().filter(|inner| inner.probes.get() == probe);
            let Some(inner) = inner.filter(|inner| inner.probing.take().is_some()) else { return };
            if is_there { inner.open() } else { inner.lost() }
        });
    }

    fn open(self: &Rc<Self>) {
        match self.dial() {
            Some(wire) => *self.wire.borrow_mut() = Some(wire),
            None => self.lost(),
        }
    }

    fn dial(self: &Rc<Self>) -> Option<Wire> {
        let location = browser::window()?.location();
        let scheme = if location.protocol().ok()? == "https:" { "wss" } else { "ws" };
        let socket = WebSocket::new(&format!("{scheme}://{}/live", location.host().ok()?)).ok()?;

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
            last_heard: browser::now(),
            is_open: false,
            is_welcome: false,
            repair: Repair::Whole,
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
        })
    }

    /// What can be asked is asked at once, without waiting for answers: who we are, and from where to go on.
    fn opened(&self) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.is_open = true;
            wire.last_heard = browser::now();
        }
        self.send(&ClientFrame::Hello { version: VERSION });
        if let Some(chat) = self.scene.chat() {
            self.watch(chat, Some(chat.cursor()));
        }
        self.send(&ClientFrame::Lobby(self.scene.wanted()));
    }

    /// What waits goes out once it is known who one is: a nickname that was forgotten meanwhile is asked for first.
    fn welcomed(&self) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.is_welcome = true;
        }
        if let Some(chat) = self.scene.chat() {
            chat.take_heart();
        }
        self.post_all();
    }

    fn post_all(&self) {
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

    fn watch(&self, chat: LiveChat, after: Option<Cursor>) {
        self.send(&ClientFrame::Watch { chat: chat.chat_id(), after });
    }

    fn repair(&self) {
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

    fn post(&self, message: &Pending) {
        let Some(chat) = self.scene.chat() else { return };
        let frame = match self.wire.borrow_mut().as_mut() {
            Some(wire) if wire.is_welcome && self.rest.borrow().is_none() => {
                wire.outbox.post(chat.chat_id(), message)
            }
            _ => None,
        };
        if let Some(frame) = frame {
            self.send(&frame);
        }
    }

    fn ask(&self, ask: Ask, done: Answered) {
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

    fn send(&self, frame: &ClientFrame) {
        let wire = self.wire.borrow();
        let open = wire.as_ref().filter(|wire| wire.is_open);
        let (Some(wire), Some(text)) = (open, json::text(frame)) else { return };
        // what cannot be sent now is sent again after the reconnect that follows
        let _ = wire.socket.send_with_str(&text);
    }

    fn heard(self: &Rc<Self>, text: &JsValue) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.last_heard = browser::now();
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
            self.told.set(Problem::Restarting.retry_after());
        }
        match self.scene.receive(frame) {
            Next::GoOn => {
                if is_welcome {
                    self.welcomed();
                }
                if let Some(repaired) = repaired {
                    self.repaired(repaired);
                    self.attempts.set(0);
                }
            }
            Next::WatchAgain => self.repair(),
            Next::ComeBack => self.lost(),
            Next::GiveUp => self.give_up(),
        }
    }

    fn answered(&self, request: u64) -> Option<Waiting> {
        self.wire.borrow_mut().as_mut().and_then(|wire| wire.outbox.answered(request))
    }

    fn lost(self: &Rc<Self>) {
        *self.rest.borrow_mut() = None;
        self.hold(false);
        self.probing.set(None);
        let wire = self.wire.borrow_mut().take();
        let abandoned = wire.map(|mut wire| wire.outbox.abandon()).unwrap_or_default();
        abandoned.into_iter().for_each(|done| done(Err(Problem::NotConnected)));
        if let Some(chat) = self.scene.chat() {
            chat.loading.set(false);
        }
        if self.given_up.get() {
            return;
        }
        // What the device says of its network is a hint, and wrong at times: it is shown, and does not keep from trying.
        let online = browser::is_online();
        self.scene.live().connection.set(if online { Connection::Reconnecting } else { Connection::Offline });
        let attempt = self.attempts.get();
        self.attempts.set(attempt.saturating_add(1));
        let weak = Rc::downgrade(self);
        let wait = match self.told.take() {
            Some(seconds) => backoff::told_millis(seconds, browser::chance()),
            None => backoff::wait_millis(attempt, browser::chance(), online),
        };
        *self.retry.borrow_mut() = Timer::once(i32::try_from(wait).unwrap_or(i32::MAX), move || {
            if let Some(inner) = weak.upgrade() {
                inner.connect();
            }
        });
    }

    /// There is reason to believe that it works now.
    fn hurry(self: &Rc<Self>) {
        if self.wire.borrow().is_none() {
            self.connect();
        }
    }

    fn look_for_silence(self: &Rc<Self>) {
        let silent = self.wire.borrow().as_ref().is_some_and(|wire| {
            let limit = if wire.is_open { SILENCE_SECONDS * 1_000 } else { HANDSHAKE_MILLIS };
            browser::now().millis_since(wire.last_heard) > limit
        });
        let is_unanswered =
            self.probing.get().is_some_and(|since| browser::now().millis_since(since) > HANDSHAKE_MILLIS);
        if silent || is_unanswered {
            self.lost();
        }
    }

    fn give_up(&self) {
        self.given_up.set(true);
        *self.retry.borrow_mut() = None;
        // the wire is let go by the event that is being handled now, which it must outlive
        if let Some(wire) = self.wire.borrow().as_ref() {
            let _ = wire.socket.close_with_code(NORMAL_CLOSE);
        }
    }
}
