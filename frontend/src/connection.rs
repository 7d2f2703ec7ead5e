//! The state of the connection, without a browser: what happens goes in as an [`Input`], and what is to be done about it comes
//! out as [`Output`]s. Moments are milliseconds since the page was loaded, by a clock that nobody sets.

use app::live::Connection;
use domain::{Timestamp, backoff, frame::SILENCE_SECONDS};

/// A handshake that takes longer is given up.
const HANDSHAKE_MILLIS: u64 = 10_000;
/// After this long a handshake may be one that is never answered: the server is asked whether it is there.
const SLOW_HANDSHAKE_MILLIS: u64 = 4_000;
/// What is wanted of the connection is answered within this time, or it is asked whether it is alive; and that as well, or it is
/// replaced. On slow networks both take [`TIMEOUT_HANDSHAKES`] times as long as the handshake took, and up to
/// [`LONGEST_TIMEOUT_MILLIS`].
const TIMEOUT_MILLIS: u64 = 2_000;
const TIMEOUT_HANDSHAKES: u64 = 4;
const LONGEST_TIMEOUT_MILLIS: u64 = 10_000;
/// After this many handshakes in a row that fail, though the server answers other requests, no WebSocket is expected to come
/// through.
const REFUSED_HANDSHAKES: u32 = 2;
/// A clock that went on for this much longer than the page did tells that the device slept.
const SLEPT_MILLIS: u64 = 15_000;
/// After this many attempts that failed, the page asks first whether the server is there. Browsers let WebSockets wait for
/// seconds whose forerunners failed (Chromium: `websocket_throttler.cc`), and nothing else.
const PROBE_AFTER: u32 = 2;

/// The connection of a page, from the first attempt to the last.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    phase: Phase,
    /// How many attempts failed since the page was up to date.
    attempts: u32,
    /// After how many milliseconds to come back, if the server said so.
    retry_after_millis: Option<u32>,
    /// How many handshakes in a row failed though the server was there.
    refused: u32,
    probe: Option<Probe>,
    /// How often the server was asked whether it is there: the answer to an earlier question is not waited for any more.
    probes: u32,
    /// Whether a timer runs at whose end an answer is due.
    is_answer_due: bool,
    /// Whether messages are held back, since the server could not take them just now.
    is_paused: bool,
    is_given_up: bool,
    /// When the watchdog last looked, by the clock of the device.
    looked_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// There is no socket.
    Closed,
    /// The handshake was sent.
    Connecting {
        since: u64,
        /// Whether the server had answered a moment before.
        is_server_there: bool,
    },
    /// The handshake was answered.
    Open(Open),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Open {
    last_heard: u64,
    /// When the first frame was sent that was not answered since, or the last one that was.
    last_sent: u64,
    /// How long an answer may take.
    timeout: u64,
    is_server_there: bool,
    /// Whether the server has said who the user is.
    is_welcome: bool,
    repair: Repair,
}

/// What is done about a gap in the timeline. There should never be one; if there is, one question at a time is asked, and a second
/// gap is answered by starting over, so that no page can ask without end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Repair {
    /// There is no gap.
    Whole,
    /// The server was asked to go on from the cursor, or to start over, and has not answered.
    Asked,
    /// The server went on, and no event has fitted since.
    Resumed,
}

/// A question to the server whether it is there.
#[derive(Debug, Clone, Copy)]
struct Probe {
    since: u64,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Purpose {
    /// A socket is opened if it is.
    Connect,
    /// Requests take the place of a handshake that is not answered if it is.
    Handshake,
}

/// What is known outside of the connection when something happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// The moment.
    pub(crate) now: u64,
    /// The same by the clock of the device, which may be set.
    pub(crate) clock: Timestamp,
    /// Whether the device says that it has a network.
    pub(crate) is_online: bool,
    /// Whether the page can be seen.
    pub(crate) is_visible: bool,
    /// Whether the page is followed by ordinary requests.
    pub(crate) is_polling: bool,
    /// Whether nothing more is to come, as in a chat that has ended.
    pub(crate) is_ended: bool,
    /// A random number from 0 to 1.
    pub(crate) chance: f64,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Input {
    /// The page wants a connection: at the start, or when it is time to try again.
    Connect,
    /// The server was asked for the `number`th time whether it is there.
    ProbeAnswered { number: u32, is_there: bool },
    /// A handshake was asked for by an ordinary request. `retry_after` is how many seconds to wait, if too many came.
    HandshakeExplained { retry_after: Option<u32> },
    /// The handshake was answered.
    Opened,
    /// The socket could not be opened, or has closed.
    Lost,
    /// A frame was sent.
    Sent,
    /// A frame came.
    Heard,
    /// The server said who the user is.
    Welcomed,
    /// The server said in how many seconds it will be back.
    RetryAfter(u32),
    /// The page is up to date, as far as that tells.
    UpToDate(Repair),
    /// An event is missing.
    Gap,
    /// An answer was due at this moment: to a question whether the connection is alive, or to something else.
    AnswerDue { is_ping: bool },
    /// The server cannot take messages for this many seconds.
    Pause(u32),
    /// The pause is over.
    PauseOver,
    /// There is reason to believe that the connection works now, or that it does not any more.
    Hurry,
    /// The watchdog, which comes every `every` milliseconds.
    Watch { every: u64 },
    /// The page has come into view.
    Shown,
    /// Nothing more is to come.
    GiveUp,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Open a socket.
    Open,
    /// Let the socket go, and tell all who wait for an answer on it.
    Drop,
    /// Close the socket, whose event may be the one that is handled now.
    Close,
    /// Ask the server whether it is there.
    Probe { number: u32 },
    /// Ask for a handshake by an ordinary request, to see why it fails.
    ExplainHandshake,
    /// Say hello, subscribe to what the page shows, and ask for the lobby.
    Greet,
    /// Ask whether the connection is alive.
    Ping,
    /// Subscribe to the chat again: from the cursor, or from the newest.
    Resubscribe { from_cursor: bool },
    /// Let what was refused for how the connection was wait again.
    RetryRefused,
    /// Send what waits.
    SendWaiting,
    /// Hold messages back for so many milliseconds; 0 lets them go.
    Pause { millis: i32 },
    /// Try again after so many milliseconds.
    RetryIn { millis: u32 },
    /// Do not try again.
    StopRetry,
    /// Look after so many milliseconds whether an answer came.
    ExpectAnswer { millis: u64, is_ping: bool },
    /// Do not look for an answer.
    StopExpecting,
    /// Follow the page by ordinary requests.
    StartPolling,
    /// Do not any more.
    StopPolling,
    /// Ask for the page now, if it is followed by requests.
    Poll,
    /// Show how the connection is, and soon that what is known may not be true any more.
    Show(Connection),
    /// Show what is known as known.
    Trust,
}

impl ConnectionState {
    /// Not connected yet.
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
            looked_at: clock,
        }
    }

    /// Whether frames can be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether messages can be sent: the server has said who the user is, and takes them.
    pub(crate) fn can_post(&self) -> bool {
        matches!(self.phase, Phase::Open(Open { is_welcome: true, .. })) && !self.is_paused
    }

    /// Takes in what happened. Gives what is to be done, in this order.
    pub(crate) fn on(&mut self, input: Input, around: &Surroundings) -> Vec<Output> {
        let mut outputs = Vec::new();
        Step { state: self, around, outputs: &mut outputs }.on(input);
        outputs
    }
}

/// One input on its way through the state.
struct Step<'a> {
    state: &'a mut ConnectionState,
    around: &'a Surroundings,
    outputs: &'a mut Vec<Output>,
}

impl Step<'_> {
    fn on(&mut self, input: Input) {
        let now = self.around.now;
        match input {
            Input::Connect => self.connect(),
            Input::ProbeAnswered { number, is_there } => self.probe_answered(number, is_there),
            Input::HandshakeExplained { retry_after: Some(seconds) } => {
                let jitter = backoff::told_millis(1, self.around.chance);
                self.state.retry_after_millis = Some(seconds.saturating_mul(1_000).saturating_add(jitter));
                self.lost(true);
            }
            Input::HandshakeExplained { retry_after: None } => self.open(true),
            Input::Opened => self.opened(),
            Input::Lost => self.lost(false),
            Input::Sent => {
                if let Some(open) = self.open_phase() {
                    // since the first frame that was not answered, however many follow
                    if open.last_sent <= open.last_heard {
                        open.last_sent = now;
                    }
                    let timeout = open.timeout;
                    self.expect_answer(timeout, false);
                }
            }
            Input::Heard => {
                if let Some(open) = self.open_phase() {
                    open.last_heard = now;
                }
            }
            Input::Welcomed => {
                if let Some(open) = self.open_phase() {
                    open.is_welcome = true;
                }
                self.state.refused = 0;
                self.give(Output::StopPolling);
                self.give(Output::RetryRefused);
                self.give(Output::SendWaiting);
            }
            Input::RetryAfter(seconds) => {
                self.state.retry_after_millis = Some(backoff::told_millis(seconds, self.around.chance));
            }
            Input::UpToDate(repair) => {
                if let Some(open) = self.open_phase() {
                    open.repair = repair;
                }
                self.state.attempts = 0;
                self.give(Output::Trust);
            }
            Input::Gap => self.gap(),
            Input::AnswerDue { is_ping } => self.answer_due(is_ping),
            Input::Pause(seconds) => {
                if !self.state.is_paused {
                    self.state.is_paused = true;
                    let millis = i32::try_from(seconds).unwrap_or(i32::MAX).saturating_mul(1_000);
                    self.give(Output::Pause { millis });
                }
            }
            Input::PauseOver => {
                self.end_pause();
                self.give(Output::SendWaiting);
            }
            Input::Hurry => self.hurry(),
            Input::Watch { every } => self.watch(every),
            Input::Shown => {
                self.look_for_silence();
                self.hurry();
            }
            Input::GiveUp => {
                self.state.is_given_up = true;
                self.give(Output::StopPolling);
                self.give(Output::StopRetry);
                self.give(Output::Close);
            }
        }
    }

    fn give(&mut self, output: Output) {
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
        self.give(Output::StopRetry);
        if self.state.attempts <= PROBE_AFTER { self.open(false) } else { self.probe(Purpose::Connect) }
    }

    fn open(&mut self, is_server_there: bool) {
        if self.state.phase == Phase::Closed && !self.state.is_given_up {
            self.state.phase = Phase::Connecting { since: self.around.now, is_server_there };
            self.give(Output::Open);
        }
    }

    fn probe(&mut self, purpose: Purpose) {
        self.state.probes = self.state.probes.wrapping_add(1);
        self.state.probe = Some(Probe { since: self.around.now, purpose });
        self.give(Output::Probe { number: self.state.probes });
    }

    fn probe_answered(&mut self, number: u32, is_there: bool) {
        if number != self.state.probes {
            return;
        }
        match self.state.probe.take().map(|probe| probe.purpose) {
            Some(Purpose::Connect) if !is_there => self.lost(false),
            Some(Purpose::Connect) if self.state.refused == 0 => self.open(true),
            Some(Purpose::Connect) => self.give(Output::ExplainHandshake),
            Some(Purpose::Handshake) if is_there && self.is_connecting() => self.give(Output::StartPolling),
            Some(Purpose::Handshake) | None => {}
        }
    }

    fn is_connecting(&self) -> bool {
        matches!(self.state.phase, Phase::Connecting { .. })
    }

    fn opened(&mut self) {
        let now = self.around.now;
        if let Phase::Connecting { since, is_server_there } = self.state.phase {
            let slow = now.saturating_sub(since).saturating_mul(TIMEOUT_HANDSHAKES);
            self.state.phase = Phase::Open(Open {
                last_heard: now,
                last_sent: 0,
                timeout: slow.clamp(TIMEOUT_MILLIS, LONGEST_TIMEOUT_MILLIS),
                is_server_there,
                is_welcome: false,
                repair: Repair::Whole,
            });
            self.give(Output::Greet);
        }
    }

    /// The connection is gone, and the next attempt follows after a while. `starts_polling` says that the page is followed by
    /// requests until then.
    fn lost(&mut self, starts_polling: bool) {
        self.end_pause();
        self.state.is_answer_due = false;
        self.give(Output::StopExpecting);
        self.state.probe = None;
        let phase = std::mem::replace(&mut self.state.phase, Phase::Closed);
        let was_refused = match phase {
            Phase::Connecting { is_server_there, .. } => is_server_there,
            Phase::Open(open) => open.is_server_there && !open.is_welcome,
            Phase::Closed => false,
        };
        self.state.refused += u32::from(was_refused);
        self.give(Output::Drop);
        if self.state.is_given_up || self.around.is_ended {
            return;
        }
        // What the device says of its network is a hint, and wrong at times: it is shown, and does not keep from trying.
        let is_online = self.around.is_online;
        let starts_polling = starts_polling || (self.state.refused >= REFUSED_HANDSHAKES && is_online);
        if starts_polling {
            self.give(Output::StartPolling);
        }
        let is_polling = self.around.is_polling || starts_polling;
        if !is_polling {
            let shown = if is_online { Connection::Reconnecting } else { Connection::Offline };
            self.give(Output::Show(shown));
        }
        let attempt = self.state.attempts;
        self.state.attempts = attempt.saturating_add(1);
        // nobody waits for the socket where the page is followed without
        let attempt = if is_polling { u32::MAX } else { attempt };
        let told = self.state.retry_after_millis.take();
        let millis = told.unwrap_or_else(|| backoff::wait_millis(attempt, self.around.chance, is_online));
        self.give(Output::RetryIn { millis });
    }

    fn end_pause(&mut self) {
        self.state.is_paused = false;
        self.give(Output::Pause { millis: 0 });
    }

    fn gap(&mut self) {
        let Some(open) = self.open_phase() else { return };
        match std::mem::replace(&mut open.repair, Repair::Asked) {
            Repair::Whole => self.give(Output::Resubscribe { from_cursor: true }),
            Repair::Asked => {}
            Repair::Resumed => self.give(Output::Resubscribe { from_cursor: false }),
        }
    }

    /// Looks, after so many milliseconds, whether anything was heard since something was sent. A ping is looked after even if
    /// something else is.
    fn expect_answer(&mut self, millis: u64, is_ping: bool) {
        if is_ping || !self.state.is_answer_due {
            self.state.is_answer_due = true;
            self.give(Output::ExpectAnswer { millis, is_ping });
        }
    }

    /// A connection on which something was sent and nothing was heard is asked whether it is alive, and replaced where it does
    /// not say so.
    fn answer_due(&mut self, is_ping: bool) {
        self.state.is_answer_due = false;
        let now = self.around.now;
        let Some(open) = self.open_phase().filter(|open| open.last_heard < open.last_sent) else { return };
        let left = (open.last_sent + open.timeout).saturating_sub(now);
        match (left, is_ping) {
            (1.., _) => self.expect_answer(left, is_ping),
            (0, true) => self.replace(),
            (0, false) => self.ping(),
        }
    }

    fn ping(&mut self) {
        if let Some(timeout) = self.open_phase().map(|open| open.timeout) {
            self.give(Output::Ping);
            self.expect_answer(timeout, true);
        }
    }

    /// A connection that is dead makes room for another one now.
    fn replace(&mut self) {
        self.lost(false);
        self.connect();
    }

    fn hurry(&mut self) {
        self.give(Output::Poll);
        let now = self.around.now;
        let is_slow = |since: u64| now.saturating_sub(since) > TIMEOUT_MILLIS;
        match self.state.phase {
            Phase::Open(_) => self.ping(),
            // it may have been begun on another network
            Phase::Connecting { since, .. } if is_slow(since) => self.replace(),
            Phase::Connecting { .. } => {}
            Phase::Closed => {
                self.state.probe = self.state.probe.filter(|probe| !is_slow(probe.since));
                self.connect();
            }
        }
    }

    fn watch(&mut self, every: u64) {
        // a device that slept comes back without a word; what it was connected to may have gone
        let clock = self.around.clock;
        let passed = clock.millis_since(std::mem::replace(&mut self.state.looked_at, clock));
        if passed > every + SLEPT_MILLIS && self.around.is_visible {
            self.hurry();
        }
        self.look_for_silence();
    }

    fn look_for_silence(&mut self) {
        let now = self.around.now;
        let (silence, limit) = match self.state.phase {
            Phase::Open(open) => (now.saturating_sub(open.last_heard), SILENCE_SECONDS * 1_000),
            Phase::Connecting { since, .. } => (now.saturating_sub(since), HANDSHAKE_MILLIS),
            Phase::Closed => (0, 0),
        };
        let is_unanswered =
            self.state.probe.is_some_and(|probe| now.saturating_sub(probe.since) > HANDSHAKE_MILLIS);
        if silence > limit || is_unanswered {
            return self.lost(false);
        }
        let is_slow = self.is_connecting() && silence > SLOW_HANDSHAKE_MILLIS;
        if is_slow && self.state.probe.is_none() && !self.around.is_polling {
            self.probe(Purpose::Handshake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AROUND: Surroundings = Surroundings {
        now: 0,
        clock: Timestamp(0),
        is_online: true,
        is_visible: true,
        is_polling: false,
        is_ended: false,
        chance: 0.5,
    };

    /// A connection and the clocks around it.
    struct Page {
        state: ConnectionState,
        around: Surroundings,
    }

    impl Page {
        fn new() -> Self {
            Self { state: ConnectionState::new(Timestamp(0)), around: AROUND }
        }

        /// One that is open and welcome.
        fn connected() -> Self {
            let mut page = Self::new();
            for input in [Input::Connect, Input::Opened, Input::Welcomed, Input::UpToDate(Repair::Whole)] {
                page.on(input);
            }
            page
        }

        fn after(&mut self, millis: u64) -> &mut Self {
            self.around.now += millis;
            self.around.clock.0 += millis;
            self
        }

        fn on(&mut self, input: Input) -> Vec<Output> {
            let outputs = self.state.on(input, &self.around);
            for output in &outputs {
                match output {
                    Output::StartPolling => self.around.is_polling = true,
                    Output::StopPolling => self.around.is_polling = false,
                    _ => {}
                }
            }
            outputs
        }

        /// Fails to connect, until a retry is due.
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
    fn who_came_too_often_waits_as_long_as_they_are_told() {
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

        let mut page = Page::connected();
        page.after(1_000).on(Input::Sent);
        page.after(100).on(Input::Heard);
        assert_eq!(page.after(2_000).on(Input::AnswerDue { is_ping: false }), []);
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
    fn who_comes_back_asks_the_connection_or_connects_at_once() {
        let mut page = Page::connected();
        let asked = page.after(1_000).on(Input::Shown);
        assert_eq!(
            asked,
            [Output::Poll, Output::Ping, Output::ExpectAnswer { millis: TIMEOUT_MILLIS, is_ping: true }]
        );
        page.on(Input::Lost);
        assert_eq!(page.on(Input::Hurry), [Output::Poll, Output::StopRetry, Output::Open]);
        assert_eq!(page.on(Input::Hurry), [Output::Poll], "it has just begun");
        let replaced = page.after(TIMEOUT_MILLIS + 1).on(Input::Hurry);
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
        page.around.clock.0 += every + SLEPT_MILLIS + 1;
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
        page.around.is_ended = true;
        assert_eq!(retry_millis(&page.on(Input::Lost)), None);
        let mut page = Page::connected();
        assert_eq!(page.on(Input::GiveUp), [Output::StopPolling, Output::StopRetry, Output::Close]);
        assert_eq!(retry_millis(&page.on(Input::Lost)), None);
        assert!(!page.on(Input::Hurry).contains(&Output::Open));
    }
}
