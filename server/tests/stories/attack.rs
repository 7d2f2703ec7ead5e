//! Attacks with small means, within every limit or from many addresses, and a quiet user who posts and loads meanwhile.
//! The quiet user has to be served nearly as fast as without the attack.
//!
//! `QCHAT_ATTACK=10 cargo test --release -p server --test stories attack -- --ignored --nocapture --test-threads 1`
//! attacks ten times as hard.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{
    Body, Change, ChatId, Event, EventKind, Lifetimes, Message, Nickname, Seq, Title, UserId, Visibility,
    frame::{ClientFrame, ServerFrame},
    id::ID_BYTES,
    lobby::LobbyQuery,
};
use engine::{clock, storage::Store};
use reqwest::{StatusCode, header::SET_COOKIE};
use server::start::DATABASE;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time};

use crate::support::{
    Client, Person, TIMEOUT,
    client::{handshake, open},
    client_id,
    history::number,
    process::Process,
    write,
};

const FORWARDED_FOR: &str = "x-forwarded-for";
const QUIET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const ATTACKER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The number of posts and page loads of the quiet user in a measurement. [`PACE`] is the interval between them.
const ROUNDS: usize = 40;
const PACE: Duration = Duration::from_millis(25);
/// The number of half-open connections: more than the server accepts.
const HALF_OPEN: u64 = 4_500;
/// The maximum wait of the quiet user at the 95th percentile. If it is longer, [`TIMES`] their wait without the attack.
const PATIENT: Duration = Duration::from_millis(100);
const TIMES: u32 = 10;

/// Returns the strength of the attack, as a factor.
fn strength() -> u64 {
    number("QCHAT_ATTACK", 1)
}

fn user(number: u64) -> UserId {
    let mut id = [7; ID_BYTES];
    id[2..].copy_from_slice(&number.to_be_bytes());
    UserId::from_bytes(id)
}

fn chat(number: u64) -> ChatId {
    ChatId::from_bytes(client_id(number).bytes())
}

/// A server with public chats whose titles are expensive to search, and one chat full of links.
struct Attacked {
    process: Process,
    _folder: tempfile::TempDir,
    links: ChatId,
    /// The positions of the messages in that chat.
    said: Vec<Seq>,
}

impl Attacked {
    fn start(chats: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = Self::fill(folder.path(), chats);
        let settings = [("QCHAT_TRUSTED_PROXIES", "127.0.0.1"), ("QCHAT_MESSAGE_RATE", "300/m")];
        let process = Process::start_with(folder.path(), &settings);
        Self { process, _folder: folder, links: chat(1), said }
    }

    fn fill(folder: &Path, chats: u64) -> Vec<Seq> {
        let store = Store::open(&folder.join(DATABASE), Lifetimes::default()).unwrap();
        let (now, nickname) = (clock::system()(), Nickname::parse("Ana").unwrap());
        let event = |number, seq, prev, kind| {
            Change::Chat(Event { chat: chat(number), seq: Seq(seq), prev: Seq(prev), at: now, kind })
        };
        let started = (1..=chats).map(|number| {
            let title = Title::parse(&format!("{} {number}", "Ee\u{301}".repeat(45))).unwrap();
            let (owner, nickname, visibility) = (user(number), nickname.clone(), Visibility::Public);
            let kind = EventKind::Started { owner, nickname, title, visibility, guest: None };
            event(number, number, 0, kind)
        });
        let links = Body::parse(&"http://a.a/ ".repeat(330)).unwrap();
        let posted = (0..60).map(|number| {
            let (author, nickname, body) = (user(number), nickname.clone(), links.clone());
            let message = Message::plain(author, nickname, client_id(number), body);
            let prev = if number == 0 { 1 } else { chats + number };
            event(1, chats + number + 1, prev, EventKind::Said(Box::new(message)))
        });
        write(&store, &started.chain(posted).collect::<Vec<_>>()).unwrap();
        (0..60).map(|number| Seq(chats + number + 1)).collect()
    }

    /// Creates a new user at an address, as reported by the proxy.
    async fn person(&self, from: Ipv4Addr) -> Person {
        let (address, http) = (self.process.address, browser(from));
        let answer = http.get(format!("http://{address}/")).send().await.unwrap();
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Person { address, cookie, http }
    }
}

fn browser(from: Ipv4Addr) -> reqwest::Client {
    let headers = reqwest::header::HeaderMap::from_iter([(
        reqwest::header::HeaderName::from_static(FORWARDED_FOR),
        from.to_string().parse().unwrap(),
    )]);
    let redirect = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(redirect).timeout(TIMEOUT).default_headers(headers).build().unwrap()
}

async fn connect(address: SocketAddr, cookie: &str, from: Ipv4Addr) -> Option<Client> {
    let mut request = handshake(address, Some(cookie));
    request.headers_mut().insert(FORWARDED_FOR, from.to_string().parse().unwrap());
    Client::greet(open(request).await.ok()?).await
}

/// The waits of the quiet user.
struct Waited {
    posts: Vec<Duration>,
    loads: Vec<Duration>,
}

fn percentile(waited: &[Duration], of_hundred: usize) -> Duration {
    let mut sorted = waited.to_vec();
    sorted.sort();
    sorted[(sorted.len() * of_hundred).div_ceil(100) - 1]
}

/// The quiet user: alone in a chat, where they post and which they load, over a new connection each time.
struct Quiet {
    person: Person,
    here: Client,
    chat: ChatId,
    said: u64,
}

impl Quiet {
    async fn arrive(attacked: &Attacked) -> Self {
        let person = attacked.person(QUIET).await;
        let chat = person.start_chat("Quiet", "A quiet place").await;
        let mut here = connect(person.address, &person.cookie, QUIET).await.unwrap();
        here.watch(chat, None).await;
        Self { person, here, chat, said: 0 }
    }

    async fn live(&mut self) -> Waited {
        let mut waited = Waited { posts: Vec::new(), loads: Vec::new() };
        let path = format!("/chat/{}", self.chat);
        let mut pace = time::interval(PACE);
        for _ in 0..ROUNDS {
            pace.tick().await;
            let began = Instant::now();
            self.said += 1;
            self.here.post(self.chat, client_id(self.said), "a quiet word").await.unwrap();
            waited.posts.push(began.elapsed());
            let anew = Person { http: browser(QUIET), ..self.person.clone() };
            let began = Instant::now();
            let page = anew.get(&path).await;
            waited.loads.push(began.elapsed());
            assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        }
        waited
    }
}

/// Checks that the quiet user does not wait too long during an attack.
#[expect(clippy::print_stdout, reason = "what came of it is written down")]
fn judge(name: &str, alone: &Waited, beside: &Waited) {
    let mut too_long = Vec::new();
    for (kind, alone, beside) in
        [("post", &alone.posts, &beside.posts), ("load", &alone.loads, &beside.loads)]
    {
        let [half, most, alone_half, alone_most] =
            [(beside, 50), (beside, 95), (alone, 50), (alone, 95)].map(|(all, of)| percentile(all, of));
        let said = format!(
            "{name}: {kind} p50 {half:.1?}, p95 {most:.1?}; without attack p50 {alone_half:.1?}, p95 {alone_most:.1?}; p95 ratio {:.1}",
            most.as_secs_f64() / alone_most.as_secs_f64()
        );
        println!("{said}");
        if most > PATIENT.max(alone_most * TIMES) {
            too_long.push(said);
        }
    }
    assert!(too_long.is_empty(), "{too_long:#?}");
}

/// Many connections search the titles of all public chats, always for something else, as fast as they are answered.
async fn search(attacked: &Attacked) -> JoinSet<()> {
    let mut attack = JoinSet::new();
    for session in 0..10 + 3 * strength() {
        let from = Ipv4Addr::from(u32::from(ATTACKER) + u32::try_from(session / 20).unwrap());
        let person = attacked.person(from).await;
        for socket in 0..5_u64 {
            let Some(mut client) = connect(person.address, &person.cookie, from).await else { continue };
            attack.spawn(async move {
                for number in 0_u64.. {
                    let marks = "\u{301}".repeat(80);
                    let filter = format!("e{marks}{session}-{socket}-{number}");
                    let wanted = LobbyQuery { filter: filter.chars().take(100).collect(), limit: 500 };
                    if client.try_send(&ClientFrame::Lobby(wanted)).await.is_err() {
                        return;
                    }
                    loop {
                        match client.try_next().await {
                            Some(ServerFrame::Lobby(_) | ServerFrame::Refused { .. }) => break,
                            Some(_) => {}
                            None => return,
                        }
                    }
                }
            });
        }
    }
    attack
}

/// Requests the most expensive pages, from one address or from a new address each time.
async fn load(attacked: &Attacked, is_one: bool) -> JoinSet<()> {
    let (address, links, said) = (attacked.process.address, attacked.links, attacked.said.clone());
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(attacked.person(ATTACKER).await.cookie);
    }
    let http = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
    let open = Arc::new(AtomicU64::new(0));
    let mut attack = JoinSet::new();
    attack.spawn(async move {
        let mut pace = time::interval(Duration::from_secs(1) / u32::try_from(100 * strength()).unwrap());
        let mut asked = JoinSet::new();
        for number in 0_u32.. {
            pace.tick().await;
            let seq = said[number as usize % said.len()];
            let path = match number % 5 {
                0 => format!("/chat/{links}?message={seq}"),
                1 => format!("/chat/{links}?before={seq}"),
                2 => format!("/chat/{links}?person={}", user(u64::from(number))),
                3 => format!("/?limit=500&filter=e{}", number % 100),
                _ => format!("/chat/{links}?before={}", 1_000_000 + number),
            };
            let from = if is_one { ATTACKER } else { Ipv4Addr::from(0x0a00_0000 + number * 257) };
            let mut request = http.get(format!("http://{address}{path}"));
            request = request.header(FORWARDED_FOR, IpAddr::V4(from).to_string());
            if is_one {
                request = request.header("cookie", &sessions[number as usize % sessions.len()]);
            }
            // The number of concurrent requests that a small machine can make.
            if open.fetch_add(1, Ordering::SeqCst) < 200 {
                let open = Arc::clone(&open);
                asked.spawn(async move {
                    if let Ok(answer) = request.send().await {
                        let _ = answer.bytes().await;
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            } else {
                open.fetch_sub(1, Ordering::SeqCst);
            }
            while asked.try_join_next().is_some() {}
        }
    });
    attack
}

/// Sessions at one address post messages of the maximum size as fast as they are answered.
async fn flood(attacked: &Attacked) -> JoinSet<()> {
    let mut attack = JoinSet::new();
    for _ in 0..4 * strength().min(5) {
        let person = attacked.person(ATTACKER).await;
        let chat = person.start_chat("Loud", "A loud place").await;
        let mut client = connect(person.address, &person.cookie, ATTACKER).await.unwrap();
        attack.spawn(async move {
            let body = format!("x{}", "\u{301}".repeat(20_000));
            for number in 0.. {
                if client.post(chat, client_id(number), &body).await.is_err() {
                    time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    attack
}

/// New sessions enter a chat at once and post as fast as the rate limit allows.
async fn raid(attacked: &Attacked, chat: ChatId) -> JoinSet<()> {
    let mut attack = JoinSet::new();
    for number in 0..20 * strength() {
        let from = Ipv4Addr::from(u32::from(ATTACKER) + u32::try_from(number / 20).unwrap());
        let person = attacked.person(from).await;
        let mut client = connect(person.address, &person.cookie, from).await.unwrap();
        attack.spawn(async move {
            client.watch(chat, None).await;
            for number in 0.. {
                if client.post(chat, client_id(number), "a loud word").await.is_err() {
                    return;
                }
                time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    attack
}

/// Connections send the beginning of a request and stop, and reconnect when they are closed.
fn half_open(attacked: &Attacked) -> JoinSet<()> {
    let (address, mut attack) = (attacked.process.address, JoinSet::new());
    for _ in 0..HALF_OPEN {
        attack.spawn(async move {
            while let Ok(mut stream) = TcpStream::connect(address).await {
                let _ = stream.write_all(b"GET / HT").await;
                let _ = stream.readable().await;
                time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    attack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and nothing else may run beside it: make torture"]
async fn many_lobby_searches_do_not_slow_others_down() {
    let attacked = Attacked::start(4_000 + 600 * strength());
    let mut quiet = Quiet::arrive(&attacked).await;
    let alone = quiet.live().await;
    let attack = search(&attacked).await;
    judge("searching", &alone, &quiet.live().await);
    drop(attack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and nothing else may run beside it: make torture"]
async fn one_address_that_asks_for_costly_pages_does_not_slow_others_down() {
    let attacked = Attacked::start(500);
    let mut quiet = Quiet::arrive(&attacked).await;
    let alone = quiet.live().await;
    let attack = load(&attacked, true).await;
    judge("pages of one address", &alone, &quiet.live().await);
    drop(attack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and nothing else may run beside it: make torture"]
async fn many_addresses_that_ask_for_costly_pages_do_not_slow_others_down() {
    let attacked = Attacked::start(500);
    let mut quiet = Quiet::arrive(&attacked).await;
    let alone = quiet.live().await;
    let attack = load(&attacked, false).await;
    judge("pages of many addresses", &alone, &quiet.live().await);
    drop(attack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and nothing else may run beside it: make torture"]
async fn users_who_post_as_much_as_they_may_do_not_slow_others_down() {
    let attacked = Attacked::start(500);
    let mut quiet = Quiet::arrive(&attacked).await;
    let alone = quiet.live().await;
    let attack = flood(&attacked).await;
    judge("long messages", &alone, &quiet.live().await);
    drop(attack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and nothing else may run beside it: make torture"]
async fn raiders_of_a_chat_do_not_hold_it_up() {
    let attacked = Attacked::start(500);
    let mut quiet = Quiet::arrive(&attacked).await;
    let alone = quiet.live().await;
    let attack = raid(&attacked, quiet.chat).await;
    judge("raid", &alone, &quiet.live().await);
    drop(attack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and nothing else may run beside it: make torture"]
async fn silent_connections_do_not_slow_others_down() {
    let attacked = Attacked::start(500);
    let mut quiet = Quiet::arrive(&attacked).await;
    let alone = quiet.live().await;
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    if files < HALF_OPEN + 1_000 {
        println!("skipped: this process may open {files} files only");
        return;
    }
    let attack = half_open(&attacked);
    judge("half open", &alone, &quiet.live().await);
    drop(attack);
}
