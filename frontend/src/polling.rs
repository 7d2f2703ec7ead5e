//! Polling, for networks and proxies that let ordinary requests through but no WebSockets. The page requests its own
//! data every few seconds, and sends commands by requests.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use app::live::{AnswerCallback, Connection, LivePage, address};
use domain::{
    Problem, Seq,
    frame::{ClientCommand, ServerFrame},
    page::Page,
};
use leptos::prelude::*;

use crate::{
    browser::{self, Reply, Timer},
    in_flight::PieceCallback,
    json,
};

/// The polling interval in milliseconds, while the tab is in the foreground and while it is not.
const EVERY_MILLIS: [i32; 2] = [3_000, 15_000];
/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The delay before a message is retried that could not be stored, in seconds, unless the server names one.
const PAUSE_SECONDS: u32 = 2;
/// The number of failed requests in a row after which polling ends: the server does not answer either.
const FAILURES: u32 = 2;
/// The path for commands.
const ASK_ADDRESS: &str = "/api/ask";

/// Polls for a page while it is switched on.
pub(crate) struct Polling {
    page: LivePage,
    is_on: Cell<bool>,
    failures: Cell<u32>,
    /// Whether the page was requested and has not arrived.
    is_requested: Cell<bool>,
    next: RefCell<Option<Timer>>,
    /// Whether a message is being sent. One is sent at a time, so that they keep their order.
    is_posting: Cell<bool>,
    /// The timer of a pause after a message could not be stored. `None` if there is no pause.
    pause: RefCell<Option<Timer>>,
}

impl Polling {
    /// Creates it, switched off.
    pub(crate) fn new(page: LivePage) -> Rc<Self> {
        Rc::new(Self {
            page,
            is_on: Cell::new(false),
            failures: Cell::new(0),
            is_requested: Cell::new(false),
            next: RefCell::new(None),
            is_posting: Cell::new(false),
            pause: RefCell::new(None),
        })
    }

    /// Whether it is switched on.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Starts polling.
    pub(crate) fn start(self: &Rc<Self>) {
        if !self.is_on.replace(true) {
            self.failures.set(0);
            self.poll();
        }
    }

    /// Stops polling: the socket is back, or the server does not answer.
    pub(crate) fn stop(&self) {
        self.is_on.set(false);
        self.next.take();
        self.pause.take();
    }

    /// Requests the page now, if polling is on and no request is under way.
    pub(crate) fn poll(self: &Rc<Self>) {
        if !self.is_on.get() || self.is_requested.replace(true) {
            return;
        }
        let page = match self.page.chat() {
            Some(chat) => format!("/chat/{}", chat.chat_id()),
            None => address(&self.page.lobby_query()),
        };
        let polling = Rc::clone(self);
        browser::request(&page, None, TIMEOUT, Box::new(move |reply| polling.handle_page(reply)));
    }

    /// Handles the response to a request for the page.
    fn handle_page(self: &Rc<Self>, reply: Option<Reply>) {
        self.is_requested.set(false);
        if !self.is_on.get() {
            return;
        }
        let wait = reply.as_ref().and_then(|reply| reply.retry_after);
        let (page, problem) = match &reply {
            Some(reply) if reply.is_ok() => (json::parse::<Page>(&reply.text), None),
            Some(reply) if (400..500).contains(&reply.status) => (None, refusal(reply)),
            _ => (None, None),
        };
        match (page, problem) {
            (Some(page), _) => {
                self.failures.set(0);
                self.page.refresh(page);
                self.post();
            }
            // The chat has ended, or the reader may not see it any more.
            (None, Some(problem)) if !problem.is_passing() => {
                self.stop();
                return self.page.mark_ended(problem);
            }
            (None, Some(_)) => {}
            (None, None) => {
                self.failures.set(self.failures.get() + 1);
                if self.failures.get() >= FAILURES {
                    self.stop();
                    self.page.live().is_stale.set(true);
                    return self.page.live().connection.set(Connection::Reconnecting);
                }
            }
        }
        let every = EVERY_MILLIS[usize::from(!browser::is_visible())];
        let retry_after =
            wait.and_then(|seconds| i32::try_from(seconds).ok()).unwrap_or(0).saturating_mul(1_000);
        let polling = Rc::clone(self);
        *self.next.borrow_mut() = Timer::once(every.max(retry_after), move || polling.poll());
    }

    /// Sends the oldest message that waits. The others follow once it is answered.
    pub(crate) fn post(self: &Rc<Self>) {
        let Some(chat) = self.page.chat().filter(|_| self.is_on.get() && self.pause.borrow().is_none())
        else {
            return;
        };
        let Some(message) = chat.outgoing().into_iter().next() else { return };
        if self.is_posting.replace(true) {
            return;
        }
        let client_id = message.client_id;
        let ask = message.ask(chat.chat_id(), self.page.live().server_time());
        let polling = Rc::clone(self);
        self.send(&ask, move |outcome| {
            polling.is_posting.set(false);
            match outcome {
                // The next message is sent once the page shows this one.
                Ok(seq) => {
                    chat.mark_stored(client_id, seq);
                    polling.poll();
                }
                Err(problem)
                    if problem == Problem::AnswerLost
                        || (problem.is_passing() && problem != Problem::StorageFull) =>
                {
                    let seconds = problem.retry_after().unwrap_or(PAUSE_SECONDS);
                    let millis = i32::try_from(seconds).unwrap_or(i32::MAX).saturating_mul(1_000);
                    let again = Rc::clone(&polling);
                    *polling.pause.borrow_mut() = Timer::once(millis, move || {
                        let _over = again.pause.take();
                        again.post();
                    });
                }
                Err(problem) => {
                    chat.mark_refused(client_id, problem);
                    polling.post();
                }
            }
        });
    }

    /// Sends a command that is not a message, and then requests the page.
    pub(crate) fn ask(self: &Rc<Self>, ask: &ClientCommand, done: AnswerCallback) {
        let polling = Rc::clone(self);
        self.send(ask, move |outcome| {
            polling.poll();
            done(outcome.map(drop));
        });
    }

    /// Sends a command that a piece of the page asks for, in JSON, and then requests the page.
    pub(crate) fn ask_json(self: &Rc<Self>, command: String, done: PieceCallback) {
        let polling = Rc::clone(self);
        self.send_text(Some(command), move |outcome| {
            polling.poll();
            done(outcome);
        });
    }

    fn send(&self, ask: &ClientCommand, done: impl FnOnce(Result<Seq, Problem>) + 'static) {
        self.send_text(json::text(ask), done);
    }

    fn send_text(&self, command: Option<String>, done: impl FnOnce(Result<Seq, Problem>) + 'static) {
        let reply = move |reply: Option<Reply>| {
            let answer = reply.and_then(|reply| json::parse::<ServerFrame>(&reply.text));
            done(match answer {
                Some(ServerFrame::Done { seq, .. }) => Ok(seq),
                Some(ServerFrame::Refused { problem, .. }) => Err(problem),
                _ => Err(Problem::AnswerLost),
            });
        };
        // The cookie may have changed, and be that of another user by now.
        let by = self.page.live().me.with_untracked(|me| me.id);
        browser::request(&format!("{ASK_ADDRESS}?by={by}"), command, TIMEOUT, Box::new(reply));
    }
}

/// Returns the problem with which the server refused a request. `None` if the response has none.
pub(crate) fn refusal(reply: &Reply) -> Option<Problem> {
    match json::parse::<ServerFrame>(&reply.text)? {
        ServerFrame::Refused { problem, .. } => Some(problem),
        _ => None,
    }
}
