//! The connection to NATS: it is made in the background, kept for ever, and says how it is.

use std::{
    cmp::min,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{
    Client, ClientError, ConnectOptions, Event, RequestErrorKind, ServerError,
    connection::State,
    jetstream::{self, Context, context::ContextBuilder, response::Response},
};
use bytes::Bytes;
use engine::random;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    settings::{Login, NatsSettings, Replicas},
    trouble::{self, Trouble},
};

/// The size of messages that the servers have to take, in bytes: the largest batch of proposals, its envelope, and one
/// proposal that made it too large.
pub const NEEDED_PAYLOAD: usize = 512 * 1024;
/// The oldest version of nats-server that has what is needed.
const OLDEST_SERVER: (u64, u64) = (2, 10);

/// How long a connection may take to be made: several round trips of a slow network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the line may be idle before the server is asked for a sign of life. A server that gives none three times is
/// left for another.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The wait before the second attempt to connect. It doubles with each that fails.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest wait before an attempt to connect.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// How long an answer of JetStream may take.
const API_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the acknowledgement of a message may take.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the acknowledgement of a part of a snapshot may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of messages that may wait for one subscription. More are dropped.
const SUBSCRIPTION_CAPACITY: usize = 16 * 1024;
/// The number of publications that may wait for an acknowledgement. The log has one under way, or two if it gave up one.
const MAX_UNACKNOWLEDGED: usize = 16;
/// The time after which something is asked for again that must not wait for longer than it has to.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long it may take until it is known why there is no connection: longer than one attempt.
const SETTLING: Duration = Duration::from_secs(5);
/// For how long a reason is told that says more than the later ones.
const TELLING: Duration = Duration::from_secs(30);
/// The number of answers by which it is measured how long one takes.
const ECHOES: usize = 3;
/// How long a server that works may take to answer a request for which there is nobody.
const ECHO_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection to NATS. Clones share it. It is closed when the last of them is dropped.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    servers: Arc<str>,
    link: watch::Receiver<Link>,
    dropped: Arc<AtomicU64>,
    publishing: Context,
    transfers: Context,
    api: Context,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    is_up: bool,
    /// Why it is not up.
    reason: Reason,
    /// When that was heard last. `None` if it is only what is assumed.
    heard_at: Option<Instant>,
    /// What the server said last that is not allowed.
    not_allowed: Option<String>,
}

/// Why there is no connection. The later ones tell an operator more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    NotTried,
    Broken,
    Failing,
    NobodyThere,
    Silent,
    NoAddress,
    Tls,
    Credentials,
    Login,
}

/// A file that is needed for a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CannotConnect {
    /// A file cannot be read.
    #[error("could not read {path}: {error}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The client cannot be made of the settings.
    #[error("could not prepare the connection to NATS: {0}")]
    Settings(async_nats::ConnectError),
}

impl Connection {
    /// Begins to connect, and returns without waiting for it. It goes on trying until all clones are dropped.
    ///
    /// # Errors
    /// [`CannotConnect`] if a file of the settings cannot be read. That the servers cannot be reached is no error: see
    /// [`Connection::trouble`].
    pub async fn open(settings: &NatsSettings) -> Result<Self, CannotConnect> {
        let link = watch::Sender::new(Link::new());
        let (is_up, failing) = (link.subscribe(), link.clone());
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let options = options(settings)
            .await?
            .event_callback(move |event| {
                if matches!(event, Event::SlowConsumer(_)) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                link.send_if_modified(|link| link.hear(&event, Instant::now()));
                async {}
            })
            // It chooses no server. It is asked before each round of attempts, with the errors of the one before.
            .reconnect_to_server_callback(move |servers, _| {
                let errors = servers.iter().filter_map(|server| server.last_error.as_deref());
                failing.send_if_modified(|link| link.fails(errors, Instant::now()));
                async { None }
            });
        let servers = settings.servers.to_string().into();
        let client = options.connect(settings.servers.addresses()).await.map_err(CannotConnect::Settings)?;
        let context = |timeout| {
            let builder = ContextBuilder::new().timeout(timeout).ack_timeout(timeout);
            builder.max_ack_inflight(MAX_UNACKNOWLEDGED).build(client.clone())
        };
        Ok(Self {
            publishing: context(ACK_TIMEOUT),
            transfers: context(TRANSFER_TIMEOUT),
            api: context(API_TIMEOUT),
            client,
            servers,
            link: is_up,
            dropped,
        })
    }

    /// Returns the client, for what is not kept.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until it is connected. It may have been lost again when this returns.
    pub async fn connected(&self) {
        let mut link = self.link.clone();
        // An error means that the client has ended, and then it never will be.
        if link.wait_for(|link| link.is_up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it is connected, or is known why not, but not for longer than some seconds.
    pub async fn settled(&self) {
        let mut link = self.link.clone();
        let is_settled = |link: &Link| if link.is_up { self.is_up() } else { link.reason > Reason::Broken };
        // An error means that the client has ended.
        let _ = timeout(SETTLING, link.wait_for(is_settled)).await;
    }

    /// Returns what is told to the operator of a trouble: if there is no connection, why not, as soon as that is known. `None`
    /// if there was none, and is one now.
    pub async fn settle(&self, trouble: Trouble) -> Option<Trouble> {
        if self.is_up() {
            return Some(trouble);
        }
        self.settled().await;
        self.trouble()
    }

    /// Returns how long an answer takes at least: the shortest time of several, since a machine may be busy for a moment. `None`
    /// if there is none within some seconds.
    pub(crate) async fn round_trip(&self) -> Option<Duration> {
        let answer = async || {
            let begun = Instant::now();
            let is_answer = self.echo().await == Some(RequestErrorKind::NoResponders);
            is_answer.then(|| begun.elapsed())
        };
        let answers = join_all((0..ECHOES).map(|_| answer())).await;
        answers.into_iter().flatten().min()
    }

    /// Asks for something for which there is nobody, which a server says at once. `None` if somebody answers all the same.
    async fn echo(&self) -> Option<RequestErrorKind> {
        let echo = async_nats::Request::new().payload(Bytes::new()).timeout(Some(ECHO_TIMEOUT));
        self.client.send_request(self.client.new_inbox(), echo).await.err().map(|error| error.kind())
    }

    /// Waits until something about the connection changes.
    pub async fn changed(&self) {
        let mut link = self.link.clone();
        link.mark_unchanged();
        if link.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it is connected, and was connected anew since it had been connected so often.
    pub(crate) async fn reconnected(&self, connects: u64) {
        let mut link = self.link.clone();
        if link.wait_for(|link| link.is_up && self.connects() != connects).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells whether it is connected.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Returns how often it was connected, with the first time.
    pub fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Returns a count that grows whenever messages were dropped because they were not taken in fast enough. It is not the
    /// number of these messages: many may count as one.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns how many servers have to keep each message: as many as were asked for, or else three if the servers are a
    /// cluster and one if they are not. That is known once it has been connected.
    pub(crate) fn replicas(&self, asked: Option<Replicas>) -> Replicas {
        let is_cluster = || self.client.server_info().cluster.is_some_and(|name| !name.is_empty());
        asked.unwrap_or_else(|| if is_cluster() { Replicas::THREE } else { Replicas::ONE })
    }

    /// Returns what keeps the connection from being of use: that there is none, or that the server is not one that can be
    /// used. `None` if it is good.
    pub fn trouble(&self) -> Option<Trouble> {
        let link = self.link.borrow().clone();
        if !link.is_up {
            return Some(match link.reason {
                Reason::Login => Trouble::LoginRefused,
                reason => {
                    Trouble::NotConnected { servers: self.servers.to_string(), reason: reason.sentence() }
                }
            });
        }
        let server = self.client.try_server_info()?;
        if version(&server.version).is_none_or(|version| version < OLDEST_SERVER) {
            return Some(Trouble::OldServer(server.version));
        }
        let allowed = self.client.max_payload();
        (allowed < NEEDED_PAYLOAD).then_some(Trouble::SmallPayload { allowed, needed: NEEDED_PAYLOAD })
    }

    /// Returns what it means that there was no answer: the connection's own trouble, or what the server does not allow, or
    /// else that it is silent.
    pub(crate) fn silence(&self) -> Trouble {
        let not_allowed = || self.link.borrow().not_allowed.clone().map(Trouble::NotAllowed);
        self.trouble().or_else(not_allowed).unwrap_or(Trouble::NoAnswer)
    }

    /// Returns the context for messages of the log.
    pub(crate) fn publishing(&self) -> &Context {
        &self.publishing
    }

    /// Returns the context for parts of snapshots.
    pub(crate) fn transfers(&self) -> &Context {
        &self.transfers
    }

    /// Returns the context for requests to JetStream.
    pub(crate) fn api(&self) -> &Context {
        &self.api
    }

    /// Returns the context for requests to JetStream whose answer may take that long.
    pub(crate) fn api_within(&self, timeout: Duration) -> Context {
        let mut api = self.api.clone();
        api.set_timeout(timeout);
        api
    }

    /// Asks JetStream for something.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        api: &Context,
        subject: String,
        request: &impl Serialize,
    ) -> Result<Result<T, jetstream::Error>, Trouble> {
        // While there is no connection, requests would wait in the client and go out much later.
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        match api.request(subject, request).await {
            Ok(Response::Ok(answer)) => Ok(Ok(answer)),
            Ok(Response::Err { error }) => Ok(Err(error)),
            Err(error) => Err(self.explain(trouble::of_request(&error))),
        }
    }

    /// Returns why there was no answer, if that is the trouble, and else the trouble.
    pub(crate) fn explain(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::NoAnswer | Trouble::NoJetStream if !self.is_up() => self.silence(),
            Trouble::NoAnswer => self.silence(),
            other => other,
        }
    }

    /// Connects anew if the server gives no sign of life, though the connection looks well: it may be frozen.
    pub(crate) async fn leave_if_frozen(&self) {
        if self.echo().await == Some(RequestErrorKind::TimedOut) && self.is_up() {
            tracing::warn!("the NATS server does not answer, connecting to another");
            self.leave().await;
        }
    }

    /// Connects anew, if it is connected: with some luck to another server.
    pub(crate) async fn leave(&self) {
        if self.is_up() {
            // It only fails if the client has ended.
            let _ = self.client.force_reconnect().await;
        }
    }
}

/// Asks for something again and again, and returns the first answer, or what the first request returns when it is given up:
/// each of them needs a timeout. Servers that have no leader drop what they are asked, and may have one in the next moment.
pub(crate) async fn ask_again_and_again<F: Future>(ask: impl Fn() -> F) -> F::Output {
    let mut asked = FuturesUnordered::new();
    loop {
        asked.push(ask());
        tokio::select! {
            Some(answer) = asked.next() => return answer,
            () = sleep(ASK_AGAIN) => {}
        }
    }
}

impl Link {
    fn new() -> Self {
        Self { is_up: false, reason: Reason::NotTried, heard_at: None, not_allowed: None }
    }

    /// Takes note of an event. Returns whether it changes anything that is told.
    fn hear(&mut self, event: &Event, now: Instant) -> bool {
        let before = self.clone();
        match event {
            Event::Connected => *self = Self { is_up: true, ..Self::new() },
            Event::Disconnected | Event::Closed => *self = Self { reason: Reason::Broken, ..Self::new() },
            Event::ClientError(ClientError::Other(kind)) if !self.is_up => {
                if let Some(reason) = Reason::of_kind(kind) {
                    self.fail(reason, now);
                }
            }
            // A login that expires or is withdrawn.
            Event::ServerError(ServerError::AuthorizationViolation) => self.fail(Reason::Login, now),
            Event::ServerError(ServerError::Other(error))
                if error.to_ascii_lowercase().starts_with("permissions violation") =>
            {
                self.not_allowed = Some(error.clone());
            }
            _ => {}
        }
        *self != Self { heard_at: self.heard_at, ..before }
    }

    /// Takes note of the errors of servers that could not be connected to. Returns whether that changes anything that is told.
    fn fails<'a>(&mut self, errors: impl Iterator<Item = &'a str>, now: Instant) -> bool {
        let before = self.reason;
        if !self.is_up
            && let Some(reason) = errors.map(Reason::of_error).max()
        {
            self.fail(reason, now);
        }
        self.reason != before
    }

    /// Takes note of why an attempt failed. Of several servers each may fail for another reason, in turns, and the one that
    /// says most is told.
    fn fail(&mut self, reason: Reason, now: Instant) {
        let is_fresh = self.heard_at.is_some_and(|at| now.duration_since(at) < TELLING);
        if reason >= self.reason || !is_fresh {
            (self.reason, self.heard_at) = (reason, Some(now));
        }
    }
}

impl Reason {
    /// Returns what the kind of an error means, by its name, which is all that the client tells of an attempt that failed at
    /// once. `None` if the error itself says more: see [`Reason::of_error`].
    fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "authorization violation" => Some(Self::Login),
            "failed signing nonce" => Some(Self::Credentials),
            "DNS error" => Some(Self::NoAddress),
            "timed out" => Some(Self::Silent),
            "TLS error" => Some(Self::Tls),
            "IO error" => None,
            _ => Some(Self::Failing),
        }
    }

    /// Returns what an error means, by its text.
    fn of_error(error: &str) -> Self {
        let (kind, cause) = error.split_once(": ").unwrap_or((error, ""));
        let cause = cause.to_ascii_lowercase();
        // What TLS refuses is an error of reading or writing to the client.
        let is_of_tls =
            ["certificate", "alert", "tls", "handshake", "corrupt"].iter().any(|word| cause.contains(word));
        match Self::of_kind(kind) {
            Some(reason) => reason,
            None if is_of_tls => Self::Tls,
            None => Self::NobodyThere,
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::NotTried => "no answer yet",
            Self::Broken => "the connection broke",
            Self::Failing => "the connection fails",
            Self::NobodyThere => "no server takes the connection",
            Self::Silent => "a server takes the connection and says nothing",
            Self::NoAddress => "the name of a server has no address",
            Self::Tls => "TLS failed, look at the certificates of both sides",
            Self::Credentials => "the credentials file cannot be used to log in",
            Self::Login => "the login is refused",
        }
    }
}

/// Returns the first two numbers of a version. `None` if it does not begin with two.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

async fn options(settings: &NatsSettings) -> Result<ConnectOptions, CannotConnect> {
    let options = match &settings.login {
        None => ConnectOptions::new(),
        Some(Login::Token(token)) => ConnectOptions::with_token(token.reveal()),
        Some(Login::Password { user, password }) => {
            ConnectOptions::with_user_and_password(user.clone(), password.reveal())
        }
        Some(Login::Credentials(path)) => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(|error| CannotConnect::Unreadable { path: path.clone(), error })?,
    };
    let mut options = options
        .name(format!("qchat {}", settings.node))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(API_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(|attempt| delay(attempt, random::bytes::<1>().map_or(0, |[byte]| byte)))
        .require_tls(settings.tls.required);
    if !settings.discover {
        options = options.ignore_discovered_servers();
    }
    if let Some(path) = &settings.tls.authorities {
        readable(path).await?;
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &settings.tls.identity {
        readable(certificate).await?;
        readable(key).await?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// Reads a file to see that it can be: the client would only say that TLS failed, and again at each attempt.
async fn readable(path: &Path) -> Result<(), CannotConnect> {
    let read = tokio::fs::read(path).await;
    read.map(drop).map_err(|error| CannotConnect::Unreadable { path: path.to_owned(), error })
}

/// Returns how long to wait before an attempt to connect, counted from 1. Of the nodes that lost the same server, each waits
/// another part of it.
fn delay(attempt: usize, chance: u8) -> Duration {
    let Some(retry) = attempt.checked_sub(2) else { return Duration::ZERO };
    let doubled = u32::try_from(retry).ok().and_then(|retry| 2_u32.checked_pow(retry));
    let longest =
        doubled.map_or(LONGEST_DELAY, |factor| min(FIRST_DELAY.saturating_mul(factor), LONGEST_DELAY));
    longest / 2 + longest / 2 * u32::from(chance) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_is_asked_for_again_before_it_is_given_up() {
        // The servers have a leader after 1.2 seconds, which answers at once.
        let (begun, asked) = (Instant::now(), Cell::new(0));
        let ask = || async {
            asked.set(asked.get() + 1);
            let is_dropped = begun.elapsed() < Duration::from_millis(1_200);
            let answer = async {
                if is_dropped {
                    std::future::pending::<()>().await;
                }
            };
            timeout(Duration::from_secs(4), answer).await
        };
        assert!(ask_again_and_again(ask).await.is_ok());
        assert_eq!((asked.get(), begun.elapsed()), (4, ASK_AGAIN * 3));

        let begun = Instant::now();
        let nobody = || timeout(Duration::from_secs(4), std::future::pending::<()>());
        assert!(ask_again_and_again(nobody).await.is_err());
        assert_eq!(begun.elapsed(), Duration::from_secs(4));
    }

    #[test]
    fn waits_between_attempts_grow_and_are_bounded() {
        assert_eq!(delay(1, 255), Duration::ZERO);
        assert_eq!((delay(2, 0), delay(2, 255)), (FIRST_DELAY / 2, FIRST_DELAY));
        assert_eq!(delay(4, 255), FIRST_DELAY * 4);
        for attempt in [10, 1_000, usize::MAX] {
            assert_eq!((delay(attempt, 0), delay(attempt, 255)), (LONGEST_DELAY / 2, LONGEST_DELAY));
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        let is_old = |text| version(text).is_none_or(|version| version < OLDEST_SERVER);
        let old = ["2.10.0", "2.15.1", "3.0.0-beta", "2.9.10", "1.11.0", "", "x.y"].map(is_old);
        assert_eq!(old, [false, false, false, true, true, true, true]);
    }

    #[test]
    fn what_is_not_allowed_is_remembered_until_the_connection_is_another() {
        let (mut link, now) = (Link::new(), Instant::now().into_std());
        assert!(link.hear(&Event::Connected, now));
        assert!(!link.hear(&Event::Connected, now));
        let refused = r#"Permissions Violation for Publish to "qchat.log""#;
        assert!(link.hear(&Event::ServerError(ServerError::Other(refused.to_owned())), now));
        assert_eq!(link.not_allowed.as_deref(), Some(refused));
        assert!(link.hear(&Event::Disconnected, now));
        assert_eq!((link.is_up, link.not_allowed), (false, None));
    }

    const REFUSED: &str = "IO error: Connection refused (os error 111)";

    fn error(text: &str) -> Event {
        Event::ClientError(ClientError::Other(text.to_owned()))
    }

    #[test]
    fn a_refused_login_is_told_from_a_server_that_is_away() {
        let (mut link, now) = (Link::new(), Instant::now().into_std());
        assert!(!link.hear(&error("IO error"), now), "the error itself is not known yet");
        assert!(link.fails([REFUSED].into_iter(), now));
        assert_eq!(link.reason, Reason::NobodyThere);
        assert!(link.hear(&error("authorization violation"), now));
        assert_eq!(link.reason, Reason::Login);
        assert!(!link.hear(&error("authorization violation"), now), "it is told once");
    }

    #[test]
    fn of_servers_that_fail_for_different_reasons_in_turns_the_most_telling_one_is_told_once() {
        let (mut link, begun) = (Link::new(), Instant::now().into_std());
        assert!(link.hear(&error("authorization violation"), begun));
        for second in 1..100 {
            let now = begun + Duration::from_secs(second);
            assert!(!link.fails([REFUSED].into_iter(), now));
            assert!(!link.hear(&error("authorization violation"), now));
        }
        // The login may have been put right, and the server have gone away since.
        let later = begun + Duration::from_secs(99) + TELLING;
        assert!(link.fails([REFUSED].into_iter(), later));
        assert_eq!(link.reason, Reason::NobodyThere);
    }

    #[test]
    fn what_tls_refuses_is_told_from_a_server_that_is_away() {
        for (error, reason) in [
            (REFUSED, Reason::NobodyThere),
            ("IO error: expected INFO, got nothing", Reason::NobodyThere),
            ("IO error", Reason::NobodyThere),
            ("IO error: invalid peer certificate: UnknownIssuer", Reason::Tls),
            ("IO error: received fatal alert: CertificateRequired", Reason::Tls),
            ("IO error: tls handshake eof", Reason::Tls),
            ("IO error: received corrupt message of type InvalidContentType", Reason::Tls),
            ("TLS error: no certificate", Reason::Tls),
            ("timed out", Reason::Silent),
        ] {
            assert_eq!(Reason::of_error(error), reason, "{error}");
        }
    }
}
