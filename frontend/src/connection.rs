//! The state machine of the connection, without a browser: events go in as an [`Input`], and actions come out as
//! [`Output`]s. Moments are in milliseconds since the page was loaded, by a monotonic clock.

use app::live::Connection;
use domain::{Timestamp, backoff, frame::SILENCE_SECONDS};

/// The timeout of the WebSocket handshake, in milliseconds.
const HANDSHAKE_MILLIS: u64 = 10_000;
/// How long a handshake may take, in milliseconds, before the server is probed: the network may drop WebSockets.
const SLOW_HANDSHAKE_MILLIS: u64 = 4_000;
/// The timeout for an answer, in milliseconds. If it expires, the connection is checked with a ping. If that expires
/// too, the connection is replaced. On slow networks the timeout is [`TIMEOUT_HANDSHAKES`] times the duration of the
/// handshake, up to [`LONGEST_TIMEOUT_MILLIS`].
const TIMEOUT_MILLIS: u64 = 2_000;
const TIMEOUT_HANDSHAKES: u64 = 4;
const LONGEST_TIMEOUT_MILLIS: u64 = 10_000;
/// The number of failed handshakes in a row, although the server answers other requests, after which the page falls
/// back to polling.
const REFUSED_HANDSHAKES: u32 = 2;
/// How much longer than expected the time between two checks of the watchdog has to be, in milliseconds, to conclude
/// that the device was asleep.
const SLEPT_MILLIS: u64 = 15_000;
/// The number of failed attempts after which the server is probed before each further attempt. Browsers delay
/// WebSockets by seconds after failures (Chromium: `websocket_throttler.cc`), and nothing else.
const PROBE_AFTER: u32 = 2;

/// The state of the connection, from the first attempt to the last.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    phase: Phase,
    /// The number of failed attempts since the page was up to date.
    attempts: u32,
    /// The delay before the next attempt, in milliseconds, if the server asked for one.
    retry_after_millis: Option<u32>,
    /// The number of handshakes in a row that failed although the server answered other requests.
    refused: u32,
    probe: Option<Probe>,
    /// The number of probes so far. Answers to earlier probes are ignored.
    probes: u32,
    /// Whether a timer for an answer is running.
    is_answer_due: bool,
    /// Whether messages are held back, since the server cannot take them at the moment.
    is_paused: bool,
    /// Whether no further connection is wanted.
    is_given_up: bool,
    /// When the watchdog last ran, by the clock of the device.
    watched_at: Timestamp,
}

/// The phase of the connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// There is no socket.
    Closed,
    /// The handshake was sent.
    Connecting {
        since: u64,
        /// Whether the server had answered another request just before.
        is_server_there: bool,
    },
    /// The handshake was answered.
    Open(Open),
}

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Open {
    /// When the last frame was received.
    last_received: u64,
    /// When the first frame was sent after the last one was received. `None` if none was sent since.
    unanswered_since: Option<u64>,
    /// The timeout for an answer, in milliseconds.
    timeout: u64,
    /// Whether the server had answered another request just before the handshake.
    is_server_there: bool,
    /// Whether the server has identified the user.
    is_welcome: bool,
    repair: Repair,
}

/// The repair of a gap in the timeline. There should never be a gap. If there is, only one request is made at a time,
/// and a second gap is repaired by a snapshot, so that the page cannot request without end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Repair {
    /// There is no gap.
    Whole,
    /// A resume from the cursor, or a snapshot, was requested and has not arrived.
    Asked,
    /// The server has resumed, and no event has been applied since.
    Resumed,
}

/// A probe: a request that checks whether the server answers.
#[derive(Debug, Clone, Copy)]
struct Probe {
    since: u64,
    purpose: Purpose,
}

/// What follows from the answer to a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Purpose {
    /// Opens a socket if the server answers.
    Connect,
    /// Starts polling if the server answers while a handshake is not answered.
    Handshake,
}

/// The environment of the connection when an input occurs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    /// The current moment.
    pub(crate) now: u64,
    /// The time by the clock of the device, which may be set.
    pub(crate) clock: Timestamp,
    /// Whether the device reports a network.
    pub(crate) is_online: bool,
    /// Whether the tab is in the foreground.
    pub(crate) is_visible: bool,
    /// Whether the page is polling.
    pub(crate) is_polling: bool,
    /// Whether the page cannot go on, for example because its chat has ended.
    pub(crate) is_ended: bool,
    /// A random number from 0 to 1.
    pub(crate) random: f64,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Input {
    /// A connection is wanted: at the start, or when a retry is due.
    Connect,
    /// The probe with this number was answered, or was not.
    ProbeAnswered { number: u32, is_there: bool },
    /// An ordinary request for the address of the socket has ended. `retry_after` is the number of seconds to wait, if
    /// the rate limit was exceeded.
    HandshakeExplained { retry_after: Option<u32> },
    /// An ordinary request for the address of the socket was answered by a server that is still starting.
    ServerStarting,
    /// The handshake was answered.
    Opened,
    /// The socket could not be opened, or was closed.
    Lost,
    /// A frame was sent.
    Sent,
    /// A frame was received.
    Received,
    /// The server has identified the user.
    Welcomed,
    /// The server asked to reconnect within this many seconds.
    RetryAfter(u32),
    /// The page is up to date, with this state of the repair.
    UpToDate(Repair),
    /// An event is missing.
    Gap,
    /// The timer for an answer has ended: the answer to a ping, or to something else.
    AnswerDue { is_ping: bool },
    /// The server cannot take messages for this many seconds.
    Pause(u32),
    /// The pause is over.
    PauseOver,
    /// The network has probably changed, for better or worse.
    CheckNow,
    /// The watchdog runs, which it does every `every` milliseconds.
    Watch { every: u64 },
    /// The tab has come to the foreground.
    Shown,
    /// The page cannot go on: no further connection is wanted.
    GiveUp,
}

/// An action to take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Open a socket.
    Open,
    /// Drop the socket, and fail the commands that wait for an answer on it.
    Drop,
    /// Close the socket, but keep it: it may be the source of the event that is being handled.
    Close,
    /// Send a probe.
    Probe { number: u32 },
    /// Request the address of the socket by an ordinary request, to learn why the handshake fails.
    ExplainHandshake,
    /// Send the hello, subscribe to what the page shows, and request the lobby.
    Greet,
    /// Send a ping.
    Ping,
    /// Subscribe to the chat again: from the cursor, or with a snapshot.
    Resubscribe { from_cursor: bool },
    /// Send messages again that were refused because of the state of the connection.
    RetryRefused,
    /// Send the messages that wait.
    SendWaiting,
    /// Hold messages back for this many milliseconds. 0 ends the pause.
    Pause { millis: i32 },
    /// Try again after this many milliseconds.
    RetryIn { millis: u32 },
    /// Cancel the next attempt.
    StopRetry,
    /// Start the timer for an answer, in milliseconds.
    ExpectAnswer { millis: u64, is_ping: bool },
    /// Cancel the timer for an answer.
    StopExpecting,
    /// Fall back to polling: the server answers other requests, but no WebSocket gets through.
    StartPolling,
    /// Stop polling: the socket is open and the user identified, or no further connection is wanted.
    StopPolling,
    /// Poll now, if the page is polling.
    Poll,
    /// Show this state of the connection, and soon mark presence and counts as possibly outdated.
    Show(Connection),
    /// Mark presence and counts as up to date.
    MarkFresh,
}

impl ConnectionState {
    /// Creates the state of a page that is not connected yet.
    pub(crate) fn new(clock: Timestamp) -> Self {
        Self {
            phase: Phase::Closed,
            attempts: 0,
            retry_after_millis: None,
            refused: 0,
            probe: None,
            probes: 0,
            is_answer_due: false,
            is_paused: false,
            is_given_up: false,
            watched_at: clock,
        }
    }

    /// Whether frames can be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether messages can be sent: the server has identified the user, and messages are not paused.
    pub(crate) fn can_post(&self) -> bool {
        matches!(self.phase, Phase::Open(Open { is_welcome: true, .. })) && !self.is_paused
    }

    /// Handles an input. Returns the actions to take, in order.
    pub(crate) fn on(&mut self, input: Input, environment: &Environment) -> Vec<Output> {
        let mut outputs = Vec::new();
        Step { state: self, environment, outputs: &mut outputs }.on(input);
        outputs
    }
}

/// One input being handled.
struct Step<'a> {
    state: &'a mut ConnectionState,
    environment: &'a Environment,
    outputs: &'a mut Vec<Output>,
}

impl Step<'_> {
    fn on(&mut self, input: Input) {
        let now = self.environment.now;
        match input {
            Input::Connect => self.connect(),
            Input::ProbeAnswered { number, is_there } => self.handle_probe_answer(number, is_there),
            Input::HandshakeExplained { retry_after: Some(seconds) } => {
                let jitter = backoff::retry_after_millis(1, self.environment.random);
                self.state.retry_after_millis = Some(seconds.saturating_mul(1_000).saturating_add(jitter));
                self.handle_lost(true);
            }
            Input::HandshakeExplained { retry_after: None } => self.open(true),
            Input::ServerStarting => {
                // It refused the handshake itself, and no network did.
                self.state.refused = 0;
                if self.state.phase == Phase::Closed {
                    self.handle_lost(false);
                }
            }
            Input::Opened => self.handle_opened(),
            Input::Lost => self.handle_lost(false),
            Input::Sent => {
                if let Some(open) = self.open_phase() {
                    // The timeout counts from the first frame that was not answered, however many follow.
                    open.unanswered_since.get_or_insert(now);
                    let timeout = open.timeout;
                    self.expect_answer(timeout, false);
                }
            }
            Input::Received => {
                if let Some(open) = self.open_phase() {
                    open.last_received = now;
                    open.unanswered_since = None;
                }
            }
            Input::Welcomed => {
                if let Some(open) = self.open_phase() {
                    open.is_welcome = true;
                }
                self.state.refused = 0;
                self.emit(Output::StopPolling);
                self.emit(Output::RetryRefused);
                self.emit(Output::SendWaiting);
            }
            Input::RetryAfter(seconds) => {
                self.state.retry_after_millis =
                    Some(backoff::retry_after_millis(seconds, self.environment.random));
            }
            Input::UpToDate(repair) => {
                if let Some(open) = self.open_phase() {
                    open.repair = repair;
                }
                self.state.attempts = 0;
                self.emit(Output::MarkFresh);
            }
            Input::Gap => self.handle_gap(),
            Input::AnswerDue { is_ping } => self.handle_answer_due(is_ping),
            Input::Pause(seconds) => {
                if !self.state.is_paused {
                    self.state.is_paused = true;
                    let millis = i32::try_from(seconds).unwrap_or(i32::MAX).saturating_mul(1_000);
                    self.emit(Output::Pause { millis });
                }
            }
            Input::PauseOver => {
                self.end_pause();
                self.emit(Output::SendWaiting);
            }
            Input::CheckNow => self.check_now(),
            Input::Watch { every } => self.watch(every),
            Input::Shown => {
                self.check_silence();
                self.check_now();
            }
            Input::GiveUp => {
                self.state.is_given_up = true;
                self.emit(Output::StopPolling);
                self.emit(Output::StopRetry);
                self.emit(Output::Close);
            }
        }
    }

    fn emit(&mut self, output: Output) {
        self.outputs.push(output);
    }

    fn open_phase(&mut self) -> Option<&mut Open> {
        match &mut self.state.phase {
            Phase::Open(open) => Some(open),
            Phase::Closed | Phase::Connecting { .. } => None,
        }
    }

    fn connect(&mut self) {
        if self.state.phase != Phase::Closed || self.state.is_given_up || self.state.probe.is_some() {
            return;
        }
        self.emit(Output::StopRetry);
        if self.state.attempts <= PROBE_AFTER { self.open(false) } else { self.probe(Purpose::Connect) }
    }

    fn open(&mut self, is_server_there: bool) {
        if self.state.phase == Phase::Closed && !self.state.is_given_up {
            self.state.phase = Phase::Connecting { since: self.environment.now, is_server_there };
            self.emit(Output::Open);
        }
    }

    fn probe(&mut self, purpose: Purpose) {
        self.state.probes = self.state.probes.wrapping_add(1);
        self.state.probe = Some(Probe { since: self.environment.now, purpose });
        self.emit(Output::Probe { number: self.state.probes });
    }

    fn handle_probe_answer(&mut self, number: u32, is_there: bool) {
        if number != self.state.probes {
            return;
        }
        match self.state.probe.take().map(|probe| probe.purpose) {
            Some(Purpose::Connect) if !is_there => self.handle_lost(false),
            Some(Purpose::Connect) if self.state.refused == 0 => self.open(true),
            Some(Purpose::Connect) => self.emit(Output::ExplainHandshake),
            Some(Purpose::Handshake) if is_there && self.is_connecting() => self.emit(Output::StartPolling),
            Some(Purpose::Handshake) | None => {}
        }
    }

    fn is_connecting(&self) -> bool {
        matches!(self.state.phase, Phase::Connecting { .. })
    }

    fn handle_opened(&mut self) {
        let now = self.environment.now;
        if let Phase::Connecting { since, is_server_there } = self.state.phase {
            let slow = now.saturating_sub(since).saturating_mul(TIMEOUT_HANDSHAKES);
            self.state.phase = Phase::Open(Open {
                last_received: now,
                unanswered_since: None,
                timeout: slow.clamp(TIMEOUT_MILLIS, LONGEST_TIMEOUT_MILLIS),
                is_server_there,
                is_welcome: false,
                repair: Repair::Whole,
            });
            self.emit(Output::Greet);
        }
    }

    /// Handles a lost connection: drops it and schedules the next attempt. If `starts_polling`, the page polls until
    /// then.
    fn handle_lost(&mut self, starts_polling: bool) {
        self.end_pause();
        self.state.is_answer_due = false;
        self.emit(Output::StopExpecting);
        self.state.probe = None;
        let phase = std::mem::replace(&mut self.state.phase, Phase::Closed);
        let was_refused = match phase {
            Phase::Connecting { is_server_there, .. } => is_server_there,
            Phase::Open(open) => open.is_server_there && !open.is_welcome,
            Phase::Closed => false,
        };
        self.state.refused += u32::from(was_refused);
        self.emit(Output::Drop);
        if self.state.is_given_up || self.environment.is_ended {
            return;
        }
        // What the device reports about its network may be wrong: it is shown, but does not prevent attempts.
        let is_online = self.environment.is_online;
        let starts_polling = starts_polling || (self.state.refused >= REFUSED_HANDSHAKES && is_online);
        if starts_polling {
            self.emit(Output::StartPolling);
        }
        let is_polling = self.environment.is_polling || starts_polling;
        if !is_polling {
            let shown = if is_online { Connection::Reconnecting } else { Connection::Offline };
            self.emit(Output::Show(shown));
        }
        let attempt = self.state.attempts;
        self.state.attempts = attempt.saturating_add(1);
        // A page that polls does not wait for the socket, so attempts can be rare.
        let attempt = if is_polling { u32::MAX } else { attempt };
        let retry_after = self.state.retry_after_millis.take();
        let millis =
            retry_after.unwrap_or_else(|| backoff::wait_millis(attempt, self.environment.random, is_online));
        self.emit(Output::RetryIn { millis });
    }

    fn end_pause(&mut self) {
        self.state.is_paused = false;
        self.emit(Output::Pause { millis: 0 });
    }

    fn handle_gap(&mut self) {
        let Some(open) = self.open_phase() else { return };
        match std::mem::replace(&mut open.repair, Repair::Asked) {
            Repair::Whole => self.emit(Output::Resubscribe { from_cursor: true }),
            Repair::Asked => {}
            Repair::Resumed => self.emit(Output::Resubscribe { from_cursor: false }),
        }
    }

    /// Starts the timer for an answer, unless one is running already. A ping always restarts it.
    fn expect_answer(&mut self, millis: u64, is_ping: bool) {
        if is_ping || !self.state.is_answer_due {
            self.state.is_answer_due = true;
            self.emit(Output::ExpectAnswer { millis, is_ping });
        }
    }

    /// Handles the end of the timer for an answer. If something was sent and nothing was received since, the connection
    /// is checked with a ping, and replaced if that was not answered either.
    fn handle_answer_due(&mut self, is_ping: bool) {
        self.state.is_answer_due = false;
        let now = self.environment.now;
        let unanswered = self.open_phase().and_then(|open| Some(open.unanswered_since? + open.timeout));
        let Some(deadline) = unanswered else { return };
        let left = deadline.saturating_sub(now);
        match (left, is_ping) {
            // Something was received after the ping, so what was sent since then gets a ping of its own.
            (1.., _) => self.expect_answer(left, false),
            (0, true) => self.replace(),
            (0, false) => self.ping(),
        }
    }

    fn ping(&mut self) {
        if let Some(timeout) = self.open_phase().map(|open| open.timeout) {
            self.emit(Output::Ping);
            self.expect_answer(timeout, true);
        }
    }

    /// Replaces a dead connection at once.
    fn replace(&mut self) {
        self.handle_lost(false);
        self.connect();
    }

    fn check_now(&mut self) {
        self.emit(Output::Poll);
        let now = self.environment.now;
        let is_slow = |since: u64| now.saturating_sub(since) > TIMEOUT_MILLIS;
        match self.state.phase {
            Phase::Open(_) => self.ping(),
            // It may have begun on another network.
            Phase::Connecting { since, .. } if is_slow(since) => self.replace(),
            Phase::Connecting { .. } => {}
            Phase::Closed => {
                self.state.probe = self.state.probe.filter(|probe| !is_slow(probe.since));
                self.connect();
            }
        }
    }

    fn watch(&mut self, every: u64) {
        // After sleep no event reports that the connection may be dead.
        let clock = self.environment.clock;
        let passed = clock.millis_since(std::mem::replace(&mut self.state.watched_at, clock));
        if passed > every + SLEPT_MILLIS && self.environment.is_visible {
            self.check_now();
        }
        self.check_silence();
    }

    fn check_silence(&mut self) {
        let now = self.environment.now;
        let (silence, limit) = match self.state.phase {
            Phase::Open(open) => (now.saturating_sub(open.last_received), SILENCE_SECONDS * 1_000),
            Phase::Connecting { since, .. } => (now.saturating_sub(since), HANDSHAKE_MILLIS),
            Phase::Closed => (0, 0),
        };
        let is_unanswered =
            self.state.probe.is_some_and(|probe| now.saturating_sub(probe.since) > HANDSHAKE_MILLIS);
        if silence > limit || is_unanswered {
            return self.handle_lost(false);
        }
        let is_slow = self.is_connecting() && silence > SLOW_HANDSHAKE_MILLIS;
        if is_slow && self.state.probe.is_none() && !self.environment.is_polling {
            self.probe(Purpose::Handshake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: Environment = Environment {
        now: 0,
        clock: Timestamp(0),
        is_online: true,
        is_visible: true,
        is_polling: false,
        is_ended: false,
        random: 0.5,
    };

    /// A connection and its environment.
    struct Page {
        state: ConnectionState,
        environment: Environment,
    }

    impl Page {
        fn new() -> Self {
            Self { state: ConnectionState::new(Timestamp(0)), environment: ENVIRONMENT }
        }

        /// Returns a connection that is open and up to date.
        fn connected() -> Self {
            let mut page = Self::new();
            for input in [Input::Connect, Input::Opened, Input::Welcomed, Input::UpToDate(Repair::Whole)] {
                page.on(input);
            }
            page
        }

        fn after(&mut self, millis: u64) -> &mut Self {
            self.environment.now += millis;
            self.environment.clock.0 += millis;
            self
        }

        fn on(&mut self, input: Input) -> Vec<Output> {
            let outputs = self.state.on(input, &self.environment);
            for output in &outputs {
                match output {
                    Output::StartPolling => self.environment.is_polling = true,
                    Output::StopPolling => self.environment.is_polling = false,
                    _ => {}
                }
            }
            outputs
        }

        /// Fails an attempt. Returns the actions, which include the next retry.
        fn fail(&mut self) -> Vec<Output> {
            self.on(Input::Connect);
            self.on(Input::Lost)
        }
    }

    fn retry_millis(outputs: &[Output]) -> Option<u32> {
        outputs.iter().find_map(|output| match output {
            Output::RetryIn { millis } => Some(*millis),
            _ => None,
        })
    }

    #[test]
    fn a_page_greets_when_it_is_connected_and_sends_what_waits_when_it_is_welcome() {
        let mut page = Page::new();
        assert_eq!(page.on(Input::Connect), [Output::StopRetry, Output::Open]);
        assert_eq!(page.on(Input::Connect), [], "one socket is enough");
        assert!(!page.state.is_open());
        assert_eq!(page.on(Input::Opened), [Output::Greet]);
        assert!(page.state.is_open() && !page.state.can_post());
        assert_eq!(
            page.on(Input::Welcomed),
            [Output::StopPolling, Output::RetryRefused, Output::SendWaiting]
        );
        assert!(page.state.can_post());
    }

    #[test]
    fn it_comes_back_later_each_time_and_asks_first_whether_the_server_is_there() {
        let mut page = Page::new();
        let waits: Vec<_> = (0..3).map(|_| retry_millis(&page.fail()).unwrap()).collect();
        assert!(waits.is_sorted(), "{waits:?}");
        let asked = page.on(Input::Connect);
        assert_eq!(asked, [Output::StopRetry, Output::Probe { number: 1 }]);
        assert_eq!(
            page.on(Input::ProbeAnswered { number: 7, is_there: true }),
            [],
            "that was another question"
        );
        assert_eq!(page.on(Input::ProbeAnswered { number: 1, is_there: true }), [Output::Open]);
    }

    #[test]
    fn two_handshakes_that_a_server_refuses_which_is_there_lead_to_requests() {
        let mut page = Page::new();
        (0..3).for_each(|_| drop(page.fail()));
        page.on(Input::Connect);
        page.on(Input::ProbeAnswered { number: 1, is_there: true });
        assert!(!page.on(Input::Lost).contains(&Output::StartPolling));
        page.on(Input::Connect);
        assert_eq!(page.on(Input::ProbeAnswered { number: 2, is_there: true }), [Output::ExplainHandshake]);
        assert_eq!(page.on(Input::HandshakeExplained { retry_after: None }), [Output::Open]);
        let lost = page.on(Input::Lost);
        assert!(
            lost.contains(&Output::StartPolling) && !lost.contains(&Output::Show(Connection::Reconnecting))
        );
    }

    #[test]
    fn a_server_that_is_still_starting_is_asked_until_it_has_started() {
        let mut page = Page::new();
        (0..3).for_each(|_| drop(page.fail()));
        for number in (1..20).step_by(2) {
            page.on(Input::Connect);
            assert_eq!(page.on(Input::ProbeAnswered { number, is_there: true }), [Output::Open]);
            assert!(!page.on(Input::Lost).contains(&Output::StartPolling));
            page.on(Input::Connect);
            let explained = page.on(Input::ProbeAnswered { number: number + 1, is_there: true });
            assert_eq!(explained, [Output::ExplainHandshake]);
            let lost = page.on(Input::ServerStarting);
            assert!(lost.contains(&Output::Show(Connection::Reconnecting)) && retry_millis(&lost).is_some());
        }
    }

    #[test]
    fn a_page_that_connects_too_often_waits_as_long_as_it_is_told() {
        let mut page = Page::new();
        let lost = page.on(Input::HandshakeExplained { retry_after: Some(7) });
        assert!(retry_millis(&lost).unwrap() >= 7_000 && lost.contains(&Output::StartPolling));
        page.on(Input::RetryAfter(30));
        assert!(retry_millis(&page.on(Input::Lost)).unwrap() >= 1_000);
    }

    #[test]
    fn a_connection_that_does_not_answer_is_asked_once_and_then_replaced() {
        let mut page = Page::connected();
        let expects = |is_ping| Output::ExpectAnswer { millis: TIMEOUT_MILLIS, is_ping };
        page.after(1_000);
        assert_eq!(page.on(Input::Sent), [expects(false)]);
        assert_eq!(page.after(500).on(Input::Sent), [], "one look is enough");
        assert_eq!(page.after(1_500).on(Input::AnswerDue { is_ping: false }), [Output::Ping, expects(true)]);
        let replaced = page.after(TIMEOUT_MILLIS).on(Input::AnswerDue { is_ping: true });
        assert!(replaced.contains(&Output::Drop) && replaced.contains(&Output::Open), "{replaced:?}");

        // as when the hello is sent in the same millisecond as the handshake was answered
        let mut page = Page::new();
        page.on(Input::Connect);
        page.on(Input::Opened);
        page.on(Input::Sent);
        let asked = page.after(TIMEOUT_MILLIS).on(Input::AnswerDue { is_ping: false });
        assert!(asked.contains(&Output::Ping));

        let mut page = Page::connected();
        page.after(1_000).on(Input::Sent);
        page.after(100).on(Input::Received);
        assert_eq!(page.after(2_000).on(Input::AnswerDue { is_ping: false }), []);
    }

    #[test]
    fn what_is_sent_after_the_answer_to_a_ping_is_asked_for_by_another_ping() {
        let mut page = Page::connected();
        let expects = |millis, is_ping| Output::ExpectAnswer { millis, is_ping };
        page.after(1_000).on(Input::Sent);
        let asked = page.after(TIMEOUT_MILLIS).on(Input::AnswerDue { is_ping: false });
        assert_eq!(asked, [Output::Ping, expects(TIMEOUT_MILLIS, true)]);
        page.on(Input::Sent);
        page.after(100).on(Input::Received);
        page.after(1_500).on(Input::Sent);
        assert_eq!(page.after(400).on(Input::AnswerDue { is_ping: true }), [expects(1_600, false)]);
        let asked_again = page.after(1_600).on(Input::AnswerDue { is_ping: false });
        assert_eq!(asked_again, [Output::Ping, expects(TIMEOUT_MILLIS, true)]);
    }

    #[test]
    fn on_a_slow_network_an_answer_may_take_longer() {
        for (handshake, timeout) in [(10, TIMEOUT_MILLIS), (1_000, 4_000), (9_000, LONGEST_TIMEOUT_MILLIS)] {
            let mut page = Page::new();
            page.on(Input::Connect);
            page.after(handshake).on(Input::Opened);
            assert_eq!(
                page.after(1).on(Input::Sent),
                [Output::ExpectAnswer { millis: timeout, is_ping: false }]
            );
        }
    }

    #[test]
    fn a_page_that_comes_back_pings_its_connection_or_connects_at_once() {
        let mut page = Page::connected();
        let asked = page.after(1_000).on(Input::Shown);
        assert_eq!(
            asked,
            [Output::Poll, Output::Ping, Output::ExpectAnswer { millis: TIMEOUT_MILLIS, is_ping: true }]
        );
        page.on(Input::Lost);
        assert_eq!(page.on(Input::CheckNow), [Output::Poll, Output::StopRetry, Output::Open]);
        assert_eq!(page.on(Input::CheckNow), [Output::Poll], "it has just begun");
        let replaced = page.after(TIMEOUT_MILLIS + 1).on(Input::CheckNow);
        assert!(replaced.contains(&Output::Drop) && replaced.contains(&Output::Open));
    }

    #[test]
    fn silence_ends_a_connection_and_a_handshake_and_a_question() {
        let lost = |outputs: &[Output]| outputs.contains(&Output::Drop);
        let every = 5_000;
        let mut page = Page::connected();
        assert!(!lost(&page.after(SILENCE_SECONDS * 1_000).on(Input::Watch { every: u64::MAX / 2 })));
        assert!(lost(&page.after(1).on(Input::Watch { every: u64::MAX / 2 })));

        let mut page = Page::new();
        page.on(Input::Connect);
        assert_eq!(page.after(every).on(Input::Watch { every }), [Output::Probe { number: 1 }]);
        let polls = page.on(Input::ProbeAnswered { number: 1, is_there: true });
        assert_eq!(polls, [Output::StartPolling], "the server is there, and no WebSocket comes through");
        assert!(lost(&page.after(every + 1).on(Input::Watch { every })));

        let mut page = Page::new();
        (0..3).for_each(|_| drop(page.fail()));
        page.on(Input::Connect);
        assert!(lost(&page.after(HANDSHAKE_MILLIS + 1).on(Input::Watch { every })));
    }

    #[test]
    fn a_device_that_slept_asks_its_connection() {
        let mut page = Page::connected();
        let every = 5_000;
        assert_eq!(page.after(every).on(Input::Watch { every }), []);
        page.environment.clock.0 += every + SLEPT_MILLIS + 1;
        assert!(page.on(Input::Watch { every }).contains(&Output::Ping));
    }

    #[test]
    fn a_gap_is_asked_for_once_and_a_second_one_starts_over() {
        let mut page = Page::connected();
        assert_eq!(page.on(Input::Gap), [Output::Resubscribe { from_cursor: true }]);
        assert_eq!(page.on(Input::Gap), []);
        page.on(Input::UpToDate(Repair::Resumed));
        assert_eq!(page.on(Input::Gap), [Output::Resubscribe { from_cursor: false }]);
    }

    #[test]
    fn messages_pause_once_and_a_lost_connection_ends_the_pause() {
        let mut page = Page::connected();
        assert_eq!(page.on(Input::Pause(3)), [Output::Pause { millis: 3_000 }]);
        assert_eq!(page.on(Input::Pause(9)), []);
        assert!(!page.state.can_post());
        assert_eq!(page.on(Input::PauseOver), [Output::Pause { millis: 0 }, Output::SendWaiting]);
        assert!(page.state.can_post());
    }

    #[test]
    fn what_has_ended_does_not_come_back() {
        let mut page = Page::connected();
        page.environment.is_ended = true;
        assert_eq!(retry_millis(&page.on(Input::Lost)), None);
        let mut page = Page::connected();
        assert_eq!(page.on(Input::GiveUp), [Output::StopPolling, Output::StopRetry, Output::Close]);
        assert_eq!(retry_millis(&page.on(Input::Lost)), None);
        assert!(!page.on(Input::CheckNow).contains(&Output::Open));
    }
}
