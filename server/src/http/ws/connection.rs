//! The task of a WebSocket connection: the loop that reads and writes, until the connection ends.

mod incoming;
mod lobby;
mod outgoing;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use domain::{
    Epoch, Invite, Problem, UserId,
    frame::{BEAT_SECONDS, COMMANDS_IN_FLIGHT, SILENCE_SECONDS, ServerFrame},
    lobby::LobbyQuery,
};
use engine::{Caller, limits::FilterGuard, lobby::LobbyCursor, presence::OnlineGuard};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{
    sync::Notify,
    time::{Instant, interval_at, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    incoming::SendPause,
    lobby::{Entered, changed, entered},
};
use super::{
    close::{End, close},
    handshake::ReadHalf,
    subscription::ChatSubscription,
    write_half::WriteHalf,
};
use crate::http::state::AppState;

/// The timeout for a client that accepts no data.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection, and the state of what was sent on it.
pub(super) struct Connection {
    read_half: ReadHalf,
    write_half: Arc<WriteHalf>,
    caller: Caller,
    state: Arc<AppState>,
    /// Notified when there may be something new in a watched chat.
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
    /// What the client was last sent of the lobby. `None` until it was sent any of it.
    lobby: Option<LobbyCursor>,
    /// Counts a filtered subscription to the lobby against the quota.
    filtering: Option<FilterGuard>,
    /// The watched chats: mostly one, at most `WATCH_LIMIT`.
    watches: Vec<ChatSubscription>,
    /// The lobby query that was requested last, until it is answered.
    wanted: Option<LobbyQuery>,
    /// The search that is under way for a lobby query. `None` if there is none.
    search: Option<BoxFuture<'static, Entered>>,
    /// The lobby is not answered before this time.
    lobby_paused_until: Instant,
    /// The answers to commands, in the order in which the commands were received.
    answers: FuturesOrdered<BoxFuture<'static, ServerFrame>>,
    /// When the client last sent anything.
    last_heard: Instant,
    /// The pause after a message that was refused with a delay. `None` if the last message was not.
    send_pause: Option<SendPause>,
    /// The epoch of the log when the client connected.
    epoch: Epoch,
    /// Nothing is read before this time, since the client exceeded the rate limit.
    reads_at: Option<Instant>,
}

/// Serves a connection until it ends. It is boxed, so that the future of the task does not need space for it twice:
/// there are thousands of both.
pub(super) async fn run(mut connection: Box<Connection>) {
    let end = connection.serve().await;
    let metrics = &connection.state.metrics;
    metrics.connection_closed(end.reason());
    if let Some(problem) = end.problem() {
        metrics.refused(problem);
    }
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
        let (now, epoch) = (Instant::now(), state.engine.epoch());
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
            epoch,
            reads_at: None,
        })
    }

    async fn serve(&mut self) -> End {
        let stop = self.state.admission.token();
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
}

/// A step of a connection, boxed, so that an idle connection does not reserve space for the largest one.
type Step<'a> = Pin<Box<dyn Future<Output = Result<(), End>> + Send + 'a>>;

/// Runs a step of a connection within the write timeout. A server that stops or sends people away does not wait for it.
async fn in_time(stop: &CancellationToken, step: Step<'_>) -> Result<(), End> {
    tokio::select! {
        done = timeout(WRITE_TIMEOUT, step) => done.unwrap_or(Err(End::Silent)),
        () = stop.cancelled() => Err(End::Problem(Problem::Restarting)),
    }
}
