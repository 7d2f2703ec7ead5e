//! A server for a test, and its users.

pub(crate) mod client;
pub(crate) mod history;
pub(crate) mod process;
pub(crate) mod proxy;

use std::{
    net::SocketAddr,
    panic,
    path::Path,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use domain::{Change, ChatId, ClientId, Lifetimes, Seq, Span, Timestamp, UserId, id::ID_BYTES};
use engine::{
    clock::{self, SteadyClock},
    expiry::Duty,
    limits::{Quotas, Rates},
    storage::{Store, StoreError},
};
use reqwest::{
    StatusCode,
    header::{ACCEPT, COOKIE, HeaderMap, LOCATION, SET_COOKIE},
    redirect::Policy,
};
use server::{
    Running, Settings,
    http::client::TrustedProxies,
    pictures::UploadLimits,
    settings::PictureLimits,
    start::{DATABASE, local, start, start_by, start_on},
};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) use client::Client;

/// The timeout for anything in a test.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Unexpected panics, including those that were caught.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Fails the test if anything panics unexpectedly while it runs, even if the panic is caught.
struct PanicWatch {
    /// The number of panics before it began, which are reported by other tests.
    known: usize,
}

impl PanicWatch {
    fn keep() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                // redb panics on some kinds of damage, which opening a database has to tolerate.
                let thread = thread::current();
                // A poisoned lock is reported along with the panic that caused it, and so is the assertion below.
                let is_known = |said: &str| {
                    ["on purpose", "PoisonError", "nobody meant"].iter().any(|known| said.contains(known))
                };
                let is_meant = panic.payload_as_str().is_some_and(is_known)
                    || thread.name().is_some_and(|name| name.starts_with("damage::"));
                if !is_meant {
                    let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                    panics.push(format!("{}: {panic}", thread.name().unwrap_or_default()));
                }
                usual(panic);
            }));
        });
        Self { known: PANICS.lock().unwrap_or_else(PoisonError::into_inner).len() }
    }
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner)[self.known..].to_vec();
        assert!(thread::panicking() || panics.is_empty(), "panics that nobody meant: {panics:?}");
    }
}

/// Stores changes as the next entry of the log, or at the highest position of their events if that is later.
pub(crate) fn write(store: &Store, changes: &[Change]) -> Result<(), StoreError> {
    let log = store.read(Timestamp::default())?.log()?;
    let (newest, now) = log.map_or((Seq::ZERO, Timestamp::default()), |log| (log.seq, log.at));
    let seq = changes.iter().fold(newest.next(), |seq, change| match change {
        Change::Chat(event) => seq.max(event.seq),
        _ => seq,
    });
    store.write(seq, now.max(Timestamp(seq.0)), |batch| {
        changes.iter().try_for_each(|change| batch.apply(change))
    })
}

/// The clock of a machine, which can be set and moved on while a server runs by it. Otherwise it follows real time.
#[derive(Clone, Default)]
pub(crate) struct FakeClock {
    set: Arc<AtomicI64>,
    passed: Arc<AtomicI64>,
}

impl FakeClock {
    /// Sets the wall clock forward or back, in milliseconds.
    pub(crate) fn set(&self, by: i64) {
        self.set.fetch_add(by, Ordering::SeqCst);
    }

    /// Lets time pass at once, in milliseconds.
    pub(crate) fn pass(&self, millis: i64) {
        self.passed.fetch_add(millis, Ordering::SeqCst);
    }

    /// Returns the time of the wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        let away = self.set.load(Ordering::SeqCst) + self.passed.load(Ordering::SeqCst);
        clock::system()().moved(away)
    }

    fn clock(&self) -> SteadyClock {
        let (wall, passed, uptime) = (self.clone(), Arc::clone(&self.passed), clock::uptime());
        SteadyClock::new(
            Arc::new(move || wall.wall()),
            Arc::new(move || uptime() + Duration::from_millis(passed.load(Ordering::SeqCst).unsigned_abs())),
        )
    }
}

/// Returns the settings of a test server with this data folder.
fn settings(data_dir: &Path) -> Settings {
    Settings {
        address: ([127, 0, 0, 1], 0).into(),
        data_dir: data_dir.into(),
        lifetimes: Lifetimes::default(),
        sweep_interval: Span::seconds(1),
        trusted_proxies: TrustedProxies::default(),
        rates: Rates::OFF,
        quotas: Quotas::OFF,
        pictures: PictureLimits {
            are_on: true,
            uploads: UploadLimits { max_bytes: 10 << 20, max_pixels: 50_000_000 },
            max_in_message: 8,
            max_storage: 1 << 30,
        },
        program: env!("CARGO_BIN_EXE_qchat").into(),
        reload_port: 0,
        cluster: None,
    }
}

/// A server for one test, with its own database.
pub(crate) struct TestServer {
    running: Running,
    folder: TempDir,
    settings: Settings,
    panic_watch: PanicWatch,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(Lifetimes::default()).await
    }

    /// Starts with other lifetimes, short enough to expire in a test.
    pub(crate) async fn start_with(lifetimes: Lifetimes) -> Self {
        Self::start_by(|settings| settings.lifetimes = lifetimes).await
    }

    /// Starts with other settings.
    pub(crate) async fn start_by(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_at(&FakeClock::default(), change).await
    }

    /// Starts with other settings, by this clock.
    pub(crate) async fn start_at(fake_clock: &FakeClock, change: impl FnOnce(&mut Settings)) -> Self {
        let panic_watch = PanicWatch::keep();
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        change(&mut settings);
        let running = start_by(&settings, fake_clock.clock()).await.unwrap();
        Self { running, folder, settings, panic_watch }
    }

    /// Starts as one node of several, whose log no other node applies.
    pub(crate) async fn start_as_node() -> Self {
        let panic_watch = PanicWatch::keep();
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let mut parts = local::open(&settings, FakeClock::default().clock()).unwrap();
        parts.duty = Duty::Shared(watch::Sender::new(true).subscribe());
        let running = start_on(&settings, parts).await.unwrap();
        Self { running, folder, settings, panic_watch }
    }

    /// Shuts down gracefully, and starts again on the same data by this clock.
    pub(crate) async fn restart_at(self, fake_clock: &FakeClock) -> Self {
        let Self { running, folder, settings, panic_watch } = self;
        running.stop().await;
        let running = start_by(&settings, fake_clock.clock()).await.unwrap();
        Self { running, folder, settings, panic_watch }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Returns the data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Shuts down gracefully, and starts again on the same data.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(&[]).await
    }

    /// Shuts down gracefully, stores these changes, and starts again.
    pub(crate) async fn restart_with(self, changes: &[Change]) -> Self {
        let Self { running, folder, settings, panic_watch } = self;
        running.stop().await;
        let store = Store::open(&folder.path().join(DATABASE), settings.lifetimes).unwrap();
        write(&store, changes).unwrap();
        drop(store);
        let running = start(&settings).await.unwrap();
        Self { running, folder, settings, panic_watch }
    }

    /// Shuts down gracefully, and returns the data folder.
    pub(crate) async fn stop(self) -> TempDir {
        self.running.stop().await;
        self.folder
    }

    /// Creates a new user by opening the home page.
    pub(crate) async fn person(&self) -> Person {
        Person::arrive(self.address()).await
    }
}

/// A user with a session, in a browser without WASM.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: String,
    pub(crate) http: reqwest::Client,
}

/// The response to a request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Person {
    pub(crate) async fn arrive(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(TIMEOUT).build().unwrap();
        let answer = http.get(format!("http://{address}/")).send().await.unwrap();
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { address, cookie, http }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(self.http.get(self.url(path))).await
    }

    /// Submits an ordinary form, as a page does.
    pub(crate) async fn submit(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.request(self.http.post(self.url(path)).form(form).header(ACCEPT, "text/html")).await
    }

    /// Submits a form as a program does, which does not ask for HTML.
    pub(crate) async fn submit_for_json(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.request(self.http.post(self.url(path)).form(form)).await
    }

    pub(crate) async fn submit_with(&self, path: &str, form: &[(&str, &str)], headers: HeaderMap) -> Answer {
        self.request(self.http.post(self.url(path)).form(form).header(ACCEPT, "text/html").headers(headers))
            .await
    }

    pub(crate) async fn start_chat(&self, nickname: &str, title: &str) -> ChatId {
        let answer = self.submit("/api/start_chat", &[("nickname", nickname), ("title", title)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let path = answer.headers[LOCATION].to_str().unwrap();
        path.strip_prefix("/chat/").unwrap().parse().unwrap()
    }

    /// Requests a direct chat with a user. Returns the status, and the chat that the response redirects to, if any.
    pub(crate) async fn chat_privately(&self, with: UserId) -> (StatusCode, Option<ChatId>) {
        let answer = self.submit("/api/chat_privately", &[("with", &with.to_string())]).await;
        let path = answer.headers.get(LOCATION).map(|path| path.to_str().unwrap().to_owned());
        (answer.status, path.map(|path| path.strip_prefix("/chat/").unwrap().parse().unwrap()))
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address, &self.cookie).await
    }

    /// Connects and watches a chat from a snapshot.
    pub(crate) async fn watch(&self, chat: ChatId) -> Client {
        let mut client = self.connect().await;
        client.watch(chat, None).await;
        client
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn request(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.header(COOKIE, &self.cookie).send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            // The comments by which hydration finds its places are removed, to make text easy to search.
            text: answer.text().await.unwrap().replace("<!>", ""),
        }
    }
}

/// Returns a client id that is unique for each number.
pub(crate) fn client_id(number: u64) -> ClientId {
    let mut bytes = [0; ID_BYTES];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    ClientId::from_bytes(bytes)
}

/// Returns the bodies of all messages among the events.
pub(crate) fn bodies<'a>(events: impl IntoIterator<Item = &'a domain::Event>) -> Vec<String> {
    events
        .into_iter()
        .filter_map(|event| event.kind.message().map(|message| message.body.to_string()))
        .collect()
}
