//! A connection: what it reads, what it writes, and when it ends.

use std::{future::Future, io, num::NonZeroU32, pin::Pin, sync::Arc, time::Duration};

use domain::{
    ChatId, ClientId, Command, Invite, Problem, UserId,
    frame::{
        Ask, BEAT_SECONDS, COMMANDS_IN_FLIGHT, ClientFrame, Cursor, SILENCE_SECONDS, ServerFrame, VERSION,
        WATCH_LIMIT,
    },
    lobby::LobbyQuery,
    page::History,
};
use engine::{
    Caller, Proposed,
    limits::Filtering,
    lobby,
    presence::OnlineGuard,
    wire::{self, encode},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{
    sync::Notify,
    time::{Instant, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tungstenite::{Error, Message, error::CapacityError};

use super::{
    close::{self, End, close},
    handshake::ReadHalf,
    subscription::{ChatSubscription, Sent},
    write_half::WriteHalf,
};
use crate::http::state::AppState;

/// The timeout for a client that accepts no data.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a refused message is waited for after its delay. Then later messages are accepted without it.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest time between two answers about the lobby: while a filter is typed, only the last one is answered.
const LOBBY_INTERVAL: Duration = Duration::from_millis(250);
/// How long to wait if too many search the lobby.
const LOBBY_BACKOFF: Duration = Duration::from_secs(2);
/// The longest pause in reading from a client that exceeds the rate limit.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Answers that are ready at once are gathered into one write, up to this many bytes. A page that connects sends hello
/// and its first watch together, and gets one answer: a write costs more than everything that is written.
const GATHERED_BYTES: usize = 4 * 1024;

/// A connection, and the state of what was sent on it.
pub(super) struct Connection {
    read_half: ReadHalf,
    write_half: Arc<WriteHalf>,
    caller: Caller,
    state: Arc<AppState>,
    wake: Arc<Notify>,
    /// Notified when the user's invites or hidden users may have changed.
    wake_user: Arc<Notify>,
    /// `None` until the client said hello.
    online: Option<OnlineGuard>,
    /// How often the clock had been set when the client was last told the time.
    clock_sets: u64,
    /// The invites that were sent last.
    invites: Option<Vec<Invite>>,
    /// The hidden users that were sent last.
    hidden: Option<Vec<UserId>>,
    lobby: Option<lobby::LobbyCursor>,
    /// Counts a filtered subscription to the lobby against the quota.
    filtering: Option<Filtering>,
    /// A few at most, mostly one.
    watches: Vec<ChatSubscription>,
    /// The lobby query that was requested last, until it is answered.
    wanted: Option<LobbyQuery>,
    /// The search for it.
    search: Option<BoxFuture<'static, Entered>>,
    /// The lobby is not answered before this time.
    lobby_paused_until: Instant,
    answers: FuturesOrdered<BoxFuture<'static, ServerFrame>>,
    last_heard: Instant,
    send_pause: Option<SendPause>,
    /// Nothing is read before this time, since the client exceeded the rate limit.
    reads_at: Option<Instant>,
}

/// A message was refused with a delay. Messages behind it are refused as well, so that they keep their order, until it
/// is retried or the client seems to have given it up.
#[derive(Clone, Copy)]
struct SendPause {
    first: ClientId,
    until: Instant,
}

/// The result of a search in the lobby.
struct Entered {
    wanted: LobbyQuery,
    is_filtered: bool,
    /// The guard for the quota of filters, unless the connection had one before.
    filtering: Option<Filtering>,
    found: Result<(lobby::LobbyCursor, domain::Lobby), Problem>,
}

/// A command, with the client's number for it.
struct PendingCommand {
    request: u64,
    command: Ask,
}

/// Frames that are sent with one write.
#[derive(Default)]
struct OutgoingFrames(Vec<u8>);

impl OutgoingFrames {
    fn push(&mut self, frame: &ServerFrame) -> Result<(), Problem> {
        let frame = encode(frame).ok_or(Problem::NotReadable)?;
        if self.0.is_empty() {
            // a single frame is not copied
            self.0 = frame.into();
        } else {
            self.0.extend_from_slice(&frame);
        }
        Ok(())
    }
}

/// Serves a connection until it ends. It is boxed, so that the future of the task does not need space for it twice:
/// there are thousands of both.
pub(super) async fn run(mut connection: Box<Connection>) {
    let end = connection.serve().await;
    // guards are released before the closing handshake
    connection.watches.clear();
    connection.online = None;
    let Connection { write_half, read_half, .. } = &mut *connection;
    close(write_half, read_half, end).await;
}

impl Connection {
    /// Creates the connection of a caller who has not said hello.
    pub(super) fn new(
        write_half: Arc<WriteHalf>,
        read_half: ReadHalf,
        caller: Caller,
        state: Arc<AppState>,
    ) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            read_half,
            write_half,
            caller,
            state,
            wake: Arc::new(Notify::new()),
            wake_user: Arc::new(Notify::new()),
            online: None,
            clock_sets: 0,
            invites: None,
            hidden: None,
            lobby: None,
            filtering: None,
            wanted: None,
            search: None,
            lobby_paused_until: now,
            watches: Vec::new(),
            answers: FuturesOrdered::new(),
            last_heard: now,
            send_pause: None,
            reads_at: None,
        })
    }

    async fn serve(&mut self) -> End {
        let stop = self.state.stop.clone();
        let (wake, wake_user, write_half) =
            (Arc::clone(&self.wake), Arc::clone(&self.wake_user), Arc::clone(&self.write_half));
        let beat = Duration::from_secs(BEAT_SECONDS);
        let mut beats = interval_at(Instant::now() + beat, beat);
        loop {
            let silence = self.last_heard + Duration::from_secs(SILENCE_SECONDS);
            let step = tokio::select! {
                () = stop.cancelled() => Err(End::Problem(Problem::Restarting)),
                Some(answer) = self.answers.next() => in_time(&stop, Box::pin(self.answer(answer))).await,
                () = write_half.stuck() => in_time(&stop, Box::pin(self.flush())).await,
                () = wake.notified() => in_time(&stop, Box::pin(self.deliver())).await,
                () = wake_user.notified() => in_time(&stop, Box::pin(self.tell_theirs())).await,
                () = changed(&mut self.lobby) => in_time(&stop, Box::pin(self.tell_lobby())).await,
                () = sleep_until(self.lobby_paused_until), if self.wanted.is_some() && self.search.is_none() => {
                    in_time(&stop, Box::pin(self.enter_lobby())).await
                }
                entered = entered(&mut self.search) => in_time(&stop, Box::pin(self.show_lobby(entered))).await,
                _ = beats.tick() => in_time(&stop, Box::pin(self.beat())).await,
                () = sleep_until(silence) => Err(End::Silent),
                () = sleep_until(self.reads_at.unwrap_or(silence)), if self.reads_at.is_some() => {
                    self.reads_at = None;
                    Ok(())
                }
                message = self.read_half.next(), if self.answers.len() < COMMANDS_IN_FLIGHT && self.reads_at.is_none() => in_time(&stop, Box::pin(self.receive(message))).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Handles a message, and those that are ready behind it for as long as each is answered at once.
    async fn receive(&mut self, message: Result<Message, Error>) -> Result<(), End> {
        self.last_heard = Instant::now();
        let mut answers = OutgoingFrames::default();
        let mut next = Some(message);
        let mut heard = Ok(None);
        while let Some(message) = next.take() {
            let before = answers.0.len();
            heard = self.hear(message, &mut answers);
            let goes_on = matches!(heard, Ok(None)) && self.reads_at.is_none();
            if goes_on && (before + 1..GATHERED_BYTES).contains(&answers.0.len()) {
                next = self.read_half.next().now_or_never();
            }
        }
        // before a command, which may have to wait for room in the queue
        self.write(answers).await?;
        match heard {
            Ok(None) => Ok(()),
            Ok(Some(PendingCommand { request, command })) => {
                self.propose(request, command).await;
                Ok(())
            }
            Err(end) => {
                if matches!(end, End::Gone) {
                    self.read_half.finish_close();
                }
                Err(end)
            }
        }
    }

    fn hear(
        &mut self,
        message: Result<Message, Error>,
        answers: &mut OutgoingFrames,
    ) -> Result<Option<PendingCommand>, End> {
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

    /// Handles a frame and adds its answer. Returns the command if it is one.
    fn take(&mut self, text: &str, answers: &mut OutgoingFrames) -> Result<Option<PendingCommand>, Problem> {
        match serde_json::from_str(text).map_err(|_| Problem::BadFrame)? {
            ClientFrame::Hello { version: VERSION } => self.greet(answers)?,
            ClientFrame::Hello { .. } => return Err(Problem::UnknownVersion),
            _ if self.online.is_none() => return Err(Problem::HelloFirst),
            ClientFrame::Watch { chat, after } => {
                self.pace();
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
                self.pace();
                // only for a watched chat: watching it was permitted
                let page = match self.watched(chat) {
                    Some(_) => self.state.engine.earlier(chat, self.caller.user, before),
                    None => Err(Problem::UnknownChat),
                };
                answers.push(&match page {
                    Ok(History { events, earlier, .. }) => {
                        ServerFrame::Earlier { chat, before, events, earlier }
                    }
                    Err(problem) => ServerFrame::refused_chat(chat, problem),
                })?;
            }
            ClientFrame::Later { chat, after } => {
                self.pace();
                let page = match self.watched(chat) {
                    Some(_) => self.state.engine.later(chat, self.caller.user, after),
                    None => Err(Problem::UnknownChat),
                };
                answers.push(&match page {
                    Ok(events) => ServerFrame::Later { chat, after, events },
                    Err(problem) => ServerFrame::refused_chat(chat, problem),
                })?;
            }
            ClientFrame::Do { request, command } => return Ok(Some(PendingCommand { request, command })),
        }
        Ok(None)
    }

    /// Counts a read of history against the rate limit for pages, since it costs about as much. Beyond the limit the
    /// client is still answered, but further frames are read later.
    fn pace(&mut self) {
        let Caller { user, address } = self.caller;
        let loaded = self.state.engine.load(Some(user), address, NonZeroU32::MIN);
        if let Some(seconds) = loaded.err().and_then(Problem::retry_after) {
            self.reads_at = Some(Instant::now() + Duration::from_secs(seconds.into()).min(LONGEST_PAUSE));
        }
    }

    fn greet(&mut self, answers: &mut OutgoingFrames) -> Result<(), Problem> {
        self.online = Some(self.state.engine.arrive(self.caller.user, &self.wake_user));
        (self.invites, self.hidden) = (None, None);
        self.welcome(answers)?;
        if self.theirs(answers).is_err() {
            // the client is welcome all the same; it is tried again
            self.wake_user.notify_one();
        }
        Ok(())
    }

    /// Tells the client its user and the time.
    fn welcome(&mut self, answers: &mut OutgoingFrames) -> Result<(), Problem> {
        let engine = &self.state.engine;
        self.clock_sets = engine.clock_sets();
        answers.push(&ServerFrame::Welcome {
            version: VERSION,
            me: engine.user(self.caller.user)?,
            beat_seconds: BEAT_SECONDS,
            now: engine.now(),
            lifetimes: engine.lifetimes(),
        })
    }

    /// Starts the search for the lobby query that was requested last. It may have to wait for other searches, and the
    /// connection goes on meanwhile.
    async fn enter_lobby(&mut self) -> Result<(), End> {
        let Some(wanted) = self.wanted.take() else { return Ok(()) };
        self.lobby_paused_until = Instant::now() + LOBBY_INTERVAL;
        let is_filtered = !wanted.filter.trim().is_empty();
        let filtering = match is_filtered && self.filtering.is_none() {
            true => match self.state.engine.filter(self.caller) {
                Ok(filtering) => Some(filtering),
                Err(problem) => return self.send(&ServerFrame::refused(problem)).await,
            },
            false => None,
        };
        let lobby = Arc::clone(&self.state.lobby);
        self.search = Some(Box::pin(async move {
            let found = lobby.enter(wanted.clone()).await;
            Entered { wanted, is_filtered, filtering, found }
        }));
        Ok(())
    }

    /// Sends the result of a search. If it failed, the previous subscription goes on.
    async fn show_lobby(&mut self, entered: Entered) -> Result<(), End> {
        self.search = None;
        match entered.found {
            Ok((view, lobby)) => {
                self.lobby = Some(view);
                if !entered.is_filtered {
                    self.filtering = None;
                } else if entered.filtering.is_some() {
                    self.filtering = entered.filtering;
                }
                self.send(&ServerFrame::Lobby(lobby)).await
            }
            // retried on behalf of the client, unless it requested something else meanwhile
            Err(Problem::Busy) => {
                self.wanted.get_or_insert(entered.wanted);
                self.lobby_paused_until = Instant::now() + LOBBY_BACKOFF;
                Ok(())
            }
            Err(problem) => self.send(&ServerFrame::refused(problem)).await,
        }
    }

    async fn tell_lobby(&mut self) -> Result<(), End> {
        match self.lobby.as_mut().and_then(lobby::LobbyCursor::news) {
            Some(change) => self.send(&ServerFrame::LobbyChange(change)).await,
            None => Ok(()),
        }
    }

    /// Sends what concerns the user alone, and the time after the clock was set.
    async fn tell_theirs(&mut self) -> Result<(), End> {
        let mut news = OutgoingFrames::default();
        self.theirs(&mut news).map_err(End::Problem)?;
        self.write(news).await
    }

    /// Adds the hidden users and the invites, each if it changed since it was sent.
    fn theirs(&mut self, news: &mut OutgoingFrames) -> Result<(), Problem> {
        if self.clock_sets != self.state.engine.clock_sets() {
            self.welcome(news)?;
        }
        let hidden = self.state.engine.hidden(self.caller.user)?;
        if self.hidden.as_ref() != Some(&hidden) {
            news.push(&ServerFrame::Hidden(hidden.clone()))?;
            self.hidden = Some(hidden);
        }
        self.invites(news)
    }

    /// Adds the invites, if they changed since they were sent.
    fn invites(&mut self, news: &mut OutgoingFrames) -> Result<(), Problem> {
        let invites = self.state.engine.invites_of(self.caller.user)?;
        if self.invites.as_ref() != Some(&invites) {
            news.push(&ServerFrame::Invites(invites.clone()))?;
            self.invites = Some(invites);
        }
        Ok(())
    }

    fn watched(&mut self, chat: ChatId) -> Option<&mut ChatSubscription> {
        self.watches.iter_mut().find(|watch| watch.chat() == chat)
    }

    fn unwatch(&mut self, chat: ChatId) {
        self.watches.retain(|watch| watch.chat() != chat);
    }

    fn watch(&mut self, chat: ChatId, after: Option<Cursor>) -> ServerFrame {
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

    /// Queues a command before the next frame is read, so that commands keep their order. The answer follows when it is decided.
    async fn propose(&mut self, request: u64, ask: Ask) {
        let proposed = match ask.check() {
            Ok(command @ Command::Post { chat, client_id, .. }) => {
                if let Some(watch) = self.watched(chat) {
                    watch.said();
                }
                self.post(client_id, command).await
            }
            Ok(command) => self.state.engine.propose(self.caller, command).await,
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
    }

    async fn post(&mut self, client_id: ClientId, message: Command) -> Result<Proposed, Problem> {
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

    /// Sends the answer of a command, and all others that are ready.
    async fn answer(&mut self, first: ServerFrame) -> Result<(), End> {
        let mut answers = OutgoingFrames::default();
        let mut next = Some(first);
        while let Some(answer) = next {
            answers.push(&answer).map_err(End::Problem)?;
            next = self.answers.next().now_or_never().flatten();
        }
        self.write(answers).await
    }

    /// Sends what is new in every watched chat, one batch each, and wakes again where there may be more.
    async fn deliver(&mut self) -> Result<(), End> {
        let mut more = false;
        let mut removed = Vec::new();
        for watch in &mut self.watches {
            // each batch is written before the next is read, so that the connection buffers one at most
            self.write_half.flush().await.map_err(gone)?;
            match watch.send_news(&self.state.engine, &self.write_half).map_err(End::Problem)? {
                Sent::Nothing => {}
                Sent::Batch | Sent::Stuck => more = true,
                Sent::Removed => {
                    removed.push(watch.chat());
                    continue;
                }
            }
            if let Some(roster) = watch.roster() {
                self.write_half.send(&roster).await.map_err(gone)?;
            }
        }
        for chat in removed {
            self.unwatch(chat);
            let problem = self.state.engine.why_not(chat, self.caller.user);
            self.send(&ServerFrame::refused_chat(chat, problem)).await?;
        }
        if more {
            self.wake.notify_one();
        }
        self.flush().await
    }

    async fn beat(&mut self) -> Result<(), End> {
        // A missed wake-up would be noticed here. What cannot be sent at once follows after a wake-up, and the
        // heartbeat only reports what was sent.
        self.deliver().await?;
        // browsers answer the ping, and their pages see the heartbeat
        let mut beat = OutgoingFrames(wire::ping().into());
        beat.push(&self.reached()).map_err(End::Problem)?;
        // an invite that expires does not wake the connection before it is swept
        if self.invites.as_ref().is_some_and(|invites| !invites.is_empty()) {
            self.invites(&mut beat).map_err(End::Problem)?;
        }
        self.write(beat).await
    }

    /// Returns a heartbeat frame.
    fn reached(&self) -> ServerFrame {
        ServerFrame::Beat(self.watches.iter().map(ChatSubscription::reached).collect())
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        let mut frames = OutgoingFrames::default();
        frames.push(frame).map_err(End::Problem)?;
        self.write(frames).await
    }

    async fn write(&mut self, OutgoingFrames(frames): OutgoingFrames) -> Result<(), End> {
        if frames.is_empty() {
            return Ok(());
        }
        self.write_half.send(&frames.into()).await.map_err(gone)
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.write_half.flush().await.map_err(gone)
    }
}

/// Waits until the lobby subscription may have changes.
async fn changed(lobby: &mut Option<lobby::LobbyCursor>) {
    match lobby {
        Some(view) => view.changed().await,
        None => std::future::pending().await,
    }
}

async fn entered(search: &mut Option<BoxFuture<'static, Entered>>) -> Entered {
    match search {
        Some(search) => search.await,
        None => std::future::pending().await,
    }
}

/// The client knows best why the connection ended.
fn gone(_: io::Error) -> End {
    End::Gone
}

/// A step of a connection, boxed, so that an idle connection does not reserve space for the largest one.
type Step<'a> = Pin<Box<dyn Future<Output = Result<(), End>> + Send + 'a>>;

/// Runs a step of a connection within the write timeout. A stopping server does not wait for it.
async fn in_time(stop: &CancellationToken, step: Step<'_>) -> Result<(), End> {
    tokio::select! {
        done = timeout(WRITE_TIMEOUT, step) => done.unwrap_or(Err(End::Silent)),
        () = stop.cancelled() => Err(End::Problem(Problem::Restarting)),
    }
}
