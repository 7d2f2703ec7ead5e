//! Incoming frames: what a client sends on a connection, and the answers.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use domain::{
    ChatId, ClientId, Draft, Problem, Seq, UserId,
    frame::{ClientCommand, ClientFrame, Cursor, ServerFrame, VERSION, WATCH_LIMIT},
    page::History,
    place::Place,
};
use engine::{Caller, Engine, Proposed};
use futures_util::FutureExt;
use tokio::time::Instant;
use tungstenite::{Error, Message, error::CapacityError};

use super::{
    super::{
        close::{self, End},
        subscription::ChatSubscription,
    },
    Connection,
    outgoing::OutgoingFrames,
};

/// What a frame asks for that may have to wait, before the next frame is read.
pub(super) enum Pending {
    /// A command, with the client's number for it.
    Command {
        /// The number.
        request: u64,
        /// The command.
        command: ClientCommand,
    },
    /// A chat to watch from a cursor that is ahead of this node.
    Watch {
        /// The chat.
        chat: ChatId,
        /// The cursor.
        after: Cursor,
    },
}

/// A message was refused with a delay. Messages behind it are refused as well, so that they keep their order, until it
/// is retried or the client seems to have given it up.
#[derive(Clone, Copy)]
pub(super) struct SendPause {
    first: ClientId,
    until: Instant,
}

/// The longest pause in reading from a client that exceeds the rate limit.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Answers that are ready at once are gathered into one write, up to this many bytes. A page that connects sends hello
/// and its first watch together, and gets one answer: a write costs more than everything that is written.
const GATHERED_BYTES: usize = 4 * 1024;

/// How long a refused message is waited for after its delay. Then later messages are accepted without it.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(60);

impl Connection {
    /// Handles a message, and those that are ready behind it for as long as each is answered at once.
    pub(super) async fn receive(&mut self, message: Result<Message, Error>) -> Result<(), End> {
        self.last_heard = Instant::now();
        let mut answers = OutgoingFrames::default();
        let mut next = Some(message);
        let mut heard = Ok(None);
        while let Some(message) = next.take() {
            let before = answers.bytes.len();
            heard = self.hear(message, &mut answers);
            let goes_on = matches!(heard, Ok(None)) && self.reads_at.is_none();
            if goes_on && (before + 1..GATHERED_BYTES).contains(&answers.bytes.len()) {
                next = self.read_half.next().now_or_never();
            }
        }
        // before a command, which may have to wait for room in the queue
        self.write(answers).await?;
        match heard {
            Ok(None) => Ok(()),
            Ok(Some(Pending::Command { request, command })) => self.propose(request, command).await,
            Ok(Some(Pending::Watch { chat, after })) => self.catch_up(chat, after).await,
            Err(end) => {
                if matches!(end, End::Gone) {
                    self.read_half.finish_close();
                }
                Err(end)
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        message: Result<Message, Error>,
        answers: &mut OutgoingFrames,
    ) -> Result<Option<Pending>, End> {
        match message {
            Ok(Message::Text(text)) => match self.take(&text, answers) {
                Err(problem) if !close::ends(problem) => {
                    answers.push(&ServerFrame::refused(problem)).map(|()| None)
                }
                done => done,
            }
            .map_err(End::Problem),
            Ok(Message::Binary(_)) => Err(End::Problem(Problem::BinaryFrame)),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(None),
            Ok(Message::Close(_)) => Err(End::Gone),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                Err(End::Problem(Problem::FrameTooLarge))
            }
            Err(Error::Utf8(_)) => Err(End::NotUtf8),
            Err(_) => Err(End::Gone),
        }
    }

    /// Handles a frame and adds its answer. Returns what it asks for if that may have to wait.
    pub(super) fn take(
        &mut self,
        text: &str,
        answers: &mut OutgoingFrames,
    ) -> Result<Option<Pending>, Problem> {
        match serde_json::from_str(text).map_err(|_| Problem::BadFrame)? {
            ClientFrame::Hello { version: VERSION } => self.greet(answers)?,
            ClientFrame::Hello { .. } => return Err(Problem::UnknownVersion),
            _ if self.online.is_none() => return Err(Problem::HelloFirst),
            ClientFrame::Watch { chat, after } => {
                self.pace();
                let engine = &self.state.engine;
                if let Some(after) = after.filter(|after| engine.is_behind(after.epoch, newest(after))) {
                    return Ok(Some(Pending::Watch { chat, after }));
                }
                let answer = self.watch(chat, after);
                answers.push(&answer)?;
            }
            ClientFrame::Lobby(wanted) => self.wanted = Some(wanted),
            ClientFrame::Unwatch { chat } => self.unwatch(chat),
            ClientFrame::Ping {} => answers.push(&self.reached())?,
            ClientFrame::Typing { chat } => {
                let state = Arc::clone(&self.state);
                if let Some(watch) = self.watched(chat) {
                    watch.typing(&state.engine);
                }
            }
            ClientFrame::Earlier { chat, before } => {
                let page = self.read_watched(chat, |engine, user| engine.earlier(chat, user, before));
                answers.push(&match page {
                    Ok(History { events, earlier, reactions, .. }) => {
                        ServerFrame::Earlier { chat, before, events, earlier, reactions }
                    }
                    Err(problem) => ServerFrame::refused_chat(chat, problem),
                })?;
            }
            ClientFrame::Later { chat, after } => {
                let page = self.read_watched(chat, |engine, user| engine.later(chat, user, after));
                answers.push(&match page {
                    Ok((events, reactions)) => ServerFrame::Later { chat, after, events, reactions },
                    Err(problem) => ServerFrame::refused_chat(chat, problem),
                })?;
            }
            ClientFrame::Around { chat, at, since } => {
                let place = Place::of(at, since).ok_or(Problem::BadFrame)?;
                let part = self.read_watched(chat, |engine, user| engine.around(chat, user, place));
                answers.push(&match part {
                    Ok(around) => ServerFrame::Around(around),
                    Err(problem) => ServerFrame::refused_chat(chat, problem),
                })?;
            }
            ClientFrame::News { chat, after } => {
                let news = self.read_watched(chat, |engine, user| engine.news(chat, user, after));
                answers.push(&match news {
                    Ok(news) => ServerFrame::News(news),
                    Err(problem) => ServerFrame::refused_chat(chat, problem),
                })?;
            }
            ClientFrame::Do { request, command } => return Ok(Some(Pending::Command { request, command })),
        }
        Ok(None)
    }

    /// Reads a page of history, at the rate at which pages may be loaded. Only of a watched chat: watching it was permitted.
    fn read_watched<T>(
        &mut self,
        chat: ChatId,
        read: impl FnOnce(&Engine, UserId) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.pace();
        self.watched(chat).ok_or(Problem::UnknownChat)?;
        read(&self.state.engine, self.caller.user)
    }

    /// Counts a read of history against the rate limit for pages, since it costs about as much. Beyond the limit the
    /// client is still answered, but further frames are read later.
    pub(super) fn pace(&mut self) {
        let Caller { user, address } = self.caller;
        let loaded = self.state.engine.load(Some(user), address, NonZeroU32::MIN);
        if let Some(seconds) = loaded.err().and_then(Problem::retry_after) {
            self.reads_at = Some(Instant::now() + Duration::from_secs(seconds.into()).min(LONGEST_PAUSE));
        }
    }

    pub(super) fn greet(&mut self, answers: &mut OutgoingFrames) -> Result<(), Problem> {
        self.online = Some(self.state.engine.arrive(self.caller.user, &self.wake_user));
        (self.invites, self.hidden) = (None, None);
        self.welcome(answers)?;
        if self.theirs(answers).is_err() {
            // the client is welcome all the same; it is tried again
            self.wake_user.notify_one();
        }
        Ok(())
    }

    pub(super) fn watched(&mut self, chat: ChatId) -> Option<&mut ChatSubscription> {
        self.watches.iter_mut().find(|watch| watch.chat() == chat)
    }

    pub(super) fn unwatch(&mut self, chat: ChatId) {
        self.watches.retain(|watch| watch.chat() != chat);
    }

    pub(super) fn watch(&mut self, chat: ChatId, after: Option<Cursor>) -> ServerFrame {
        if self.watched(chat).is_none() && self.watches.len() == WATCH_LIMIT {
            return ServerFrame::refused_chat(chat, Problem::TooManyChats);
        }
        match ChatSubscription::start(
            &self.state.engine,
            chat,
            self.caller.user,
            after,
            &self.write_half,
            &self.wake,
        ) {
            Ok((watch, answer)) => {
                self.unwatch(chat);
                self.watches.push(watch);
                // events follow behind this answer
                self.wake.notify_one();
                answer
            }
            Err(problem) => ServerFrame::refused_chat(chat, problem),
        }
    }

    /// Waits until this node has come as far as a cursor, which another node has sent, and starts to watch the chat from
    /// there. A snapshot of before would take back what the client shows. If this node does not come as far, the client
    /// is sent away, to another one.
    async fn catch_up(&mut self, chat: ChatId, after: Cursor) -> Result<(), End> {
        if !self.state.engine.wait_for(newest(&after)).await {
            return Err(End::Problem(Problem::Restarting));
        }
        let answer = self.watch(chat, Some(after));
        self.send(&answer).await
    }

    /// Queues a command before the next frame is read, so that commands keep their order. The answer follows when it is decided.
    ///
    /// # Errors
    /// [`Problem::Restarting`] if another log has begun: commands before this one may have been dropped with the log before,
    /// and are sent again by a new connection.
    pub(super) async fn propose(&mut self, request: u64, ask: ClientCommand) -> Result<(), End> {
        if self.state.engine.epoch() != self.epoch {
            return Err(End::Problem(Problem::Restarting));
        }
        let proposed = match ask.check() {
            Ok(draft @ Draft::Say { chat, client_id, .. }) => {
                if let Some(watch) = self.watched(chat) {
                    watch.said();
                }
                self.post(client_id, draft).await
            }
            Ok(draft) => self.state.engine.propose(self.caller, draft).await,
            Err(problem) => Err(problem),
        };
        self.answers.push_back(Box::pin(async move {
            let outcome = match proposed {
                Ok(proposed) => proposed.outcome().await,
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(seq) => ServerFrame::Done { request, seq },
                Err(problem) => ServerFrame::refused_request(request, problem),
            }
        }));
        Ok(())
    }

    pub(super) async fn post(&mut self, client_id: ClientId, message: Draft) -> Result<Proposed, Problem> {
        if let Some(SendPause { first, until }) = self.send_pause {
            let (left, now) = (until.saturating_duration_since(Instant::now()), Instant::now());
            if !left.is_zero() || (client_id != first && now < until + PAUSE_TIMEOUT) {
                return Err(Problem::too_fast(left));
            }
        }
        let proposed = self.state.engine.propose(self.caller, message).await;
        let wait = proposed.as_ref().err().and_then(|problem| problem.retry_after());
        self.send_pause = wait.map(|seconds| SendPause {
            first: client_id,
            until: Instant::now() + Duration::from_secs(seconds.into()),
        });
        proposed
    }
}

/// Returns the position of the newest thing that a client has: an event, or a change of reactions.
fn newest(cursor: &Cursor) -> Seq {
    cursor.reacted.map_or(cursor.seq, |reacted| reacted.max(cursor.seq))
}
