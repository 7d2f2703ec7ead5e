//! The connection to NATS: it is made in the background, kept for ever, and says how it is.

use std::{
    cmp::min,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ClientError, ConnectOptions, Event, RequestErrorKind, ServerError,
    connection::State,
    jetstream::{self, Context, context::ContextBuilder, response::Response},
};
use bytes::Bytes;
use engine::random;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::sleep};

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
    /// What the server said last that is not allowed.
    not_allowed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Login,
    Other(&'static str),
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
        let (link, is_up) = watch::channel(Link::new());
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let options = options(settings).await?.event_callback(move |event| {
            if matches!(event, Event::SlowConsumer(_)) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            link.send_if_modified(|link| link.hear(&event));
            async {}
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
                Reason::Other(reason) => Trouble::NotConnected { servers: self.servers.to_string(), reason },
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
        // A server answers at once that there is nobody behind a subject.
        let echo = async_nats::Request::new().payload(Bytes::new()).timeout(Some(ECHO_TIMEOUT));
        let Err(error) = self.client.send_request(self.client.new_inbox(), echo).await else { return };
        if error.kind() == RequestErrorKind::TimedOut && self.is_up() {
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
        Self { is_up: false, reason: Reason::Other("no answer yet"), not_allowed: None }
    }

    /// Takes note of an event. Returns whether it changes anything.
    fn hear(&mut self, event: &Event) -> bool {
        let before = self.clone();
        match event {
            Event::Connected => *self = Self { is_up: true, ..Self::new() },
            Event::Disconnected | Event::Closed => {
                *self =
                    Self { is_up: false, reason: Reason::Other("the connection broke"), not_allowed: None };
            }
            Event::ClientError(ClientError::Other(error)) if !self.is_up => self.reason = Reason::of(error),
            // A login that expires or is withdrawn.
            Event::ServerError(ServerError::AuthorizationViolation) => self.reason = Reason::Login,
            Event::ServerError(ServerError::Other(error))
                if error.to_ascii_lowercase().starts_with("permissions violation") =>
            {
                self.not_allowed = Some(error.clone());
            }
            _ => {}
        }
        *self != before
    }
}

impl Reason {
    /// The client tells of an attempt that failed by the name of the kind of its error alone.
    fn of(error: &str) -> Self {
        match error {
            "authorization violation" => Self::Login,
            "failed signing nonce" => Self::Other("the credentials file cannot be used to log in"),
            "DNS error" => Self::Other("the name of a server has no address"),
            "timed out" => Self::Other("a server takes the connection and says nothing"),
            "TLS error" => Self::Other("TLS failed, look at the certificates of both sides"),
            "IO error" => Self::Other("no server takes the connection"),
            _ => Self::Other("the connection fails"),
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
        let mut link = Link::new();
        assert!(link.hear(&Event::Connected));
        assert!(!link.hear(&Event::Connected));
        let refused = r#"Permissions Violation for Publish to "qchat.log""#;
        assert!(link.hear(&Event::ServerError(ServerError::Other(refused.to_owned()))));
        assert_eq!(link.not_allowed.as_deref(), Some(refused));
        assert!(link.hear(&Event::Disconnected));
        assert_eq!((link.is_up, link.not_allowed), (false, None));
    }

    #[test]
    fn a_refused_login_is_told_from_a_server_that_is_away() {
        let mut link = Link::new();
        let error = |text: &str| Event::ClientError(ClientError::Other(text.to_owned()));
        assert!(link.hear(&error("authorization violation")));
        assert_eq!(link.reason, Reason::Login);
        assert!(!link.hear(&error("authorization violation")), "it is told once");
        assert!(link.hear(&error("IO error")));
        assert_eq!(link.reason, Reason::Other("no server takes the connection"));
    }
}
