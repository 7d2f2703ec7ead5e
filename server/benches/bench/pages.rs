//! Pages: how many a core makes in a second, and how long one takes.

use std::{
    error::Error,
    io::{self, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Bytes, routing::get};
use domain::Timestamp;
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Form, bare, history,
    posts::Poster,
    report::{Figure, Goal, Report, percentile},
    target::{self, Member, Running, Target, session},
    wire,
};

/// Connections that ask at once.
const CONNECTIONS: usize = 16;
/// Tells the bare route how many bytes to answer.
pub(crate) const BYTES: &str = "QCHAT_BENCH_BYTES";
/// What a page asks for: as browsers do, without compression, since the server has none to do.
const ACCEPT: &str = "text/html";

/// A route that answers bytes and does nothing else. Runs as a process of its own.
pub(crate) async fn serve_bytes() -> io::Result<()> {
    let length = std::env::var(BYTES).ok().and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
    let bytes = Bytes::from(vec![b'x'; length]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    axum::serve(listener, Router::new().route("/", get(move || async move { bytes }))).await
}

/// A connection that is kept.
struct Reader {
    stream: TcpStream,
    request: Vec<u8>,
    left: Vec<u8>,
}

impl Reader {
    async fn connect(server: &Running, path: &str) -> io::Result<Self> {
        let stream = wire::connect(server.address).await?;
        let address = server.address;
        // without a cookie: each page is that of somebody who has not been there before
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {ACCEPT}\r\n\r\n");
        Ok(Self { stream, request: request.into_bytes(), left: Vec::new() })
    }

    /// Asks once and reads the answer to its end. Gives how many bytes its body had.
    async fn ask(&mut self) -> io::Result<usize> {
        self.stream.write_all(&self.request).await?;
        loop {
            if let Some((length, end)) = answer(&self.left)? {
                self.left.drain(..end);
                return Ok(length);
            }
            if self.stream.read_buf(&mut self.left).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn keep_asking(&mut self, duration: Duration) -> io::Result<usize> {
        let (began, mut answers) = (Instant::now(), 0);
        while began.elapsed() < duration {
            self.ask().await?;
            answers += 1;
        }
        Ok(answers)
    }
}

/// How long the body of the first answer is, and where it ends; nothing where it is not all there.
fn answer(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let start = end + 4;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if let Some(length) = length {
        return Ok((bytes.len() >= start + length).then_some((length, start + length)));
    }
    let (mut place, mut length) = (start, 0);
    loop {
        let Some(line) = bytes[place..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let digits = String::from_utf8_lossy(&bytes[place..place + line]);
        let size = usize::from_str_radix(&digits, 16).map_err(io::Error::other)?;
        place += line + 2 + size + 2;
        if bytes.len() < place {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some((length, place)));
        }
        length += size;
    }
}

/// What came of asking for one address.
struct Asked {
    /// Answers for each second of processor time.
    a_core: f64,
    alone: Vec<Duration>,
    bytes: usize,
}

async fn ask(server: &Running, path: &str, form: &Form) -> io::Result<Asked> {
    let mut readers = try_join_all((0..CONNECTIONS).map(|_| Reader::connect(server, path))).await?;
    let bytes = readers[0].ask().await?;
    let mut alone = Vec::new();
    for _ in 0..form.messages {
        let one = Instant::now();
        readers[0].ask().await?;
        alone.push(one.elapsed());
    }
    let cpu = server.watched.cpu()?;
    let answers = try_join_all(readers.iter_mut().map(|reader| reader.keep_asking(form.flat_out))).await?;
    let cpu = server.watched.cpu()?.saturating_sub(cpu);
    Ok(Asked { a_core: answers.iter().sum::<usize>() as f64 / cpu.as_secs_f64(), alone, bytes })
}

/// How long it takes to join a chat, and to say something in it, one after the other: the middle of each, in milliseconds.
async fn talk(server: &mut Running, chat: String, form: &Form) -> io::Result<(f64, f64)> {
    server.chat = chat.clone();
    let (mut joins, mut posts) = (Vec::new(), Vec::new());
    let mut poster = Poster::arrive_in(server, chat).await?;
    for _ in 0..form.messages {
        let cookie = session(server.address).await?;
        let one = Instant::now();
        let member = Member::arrive_as(server, cookie).await?;
        joins.push(one.elapsed());
        drop(member);
        let one = Instant::now();
        poster.post(server).await?;
        poster.answer().await?;
        posts.push(one.elapsed());
    }
    Ok((percentile(&joins, 0.5), percentile(&posts, 0.5)))
}

/// Bytes of what a browser fetches with its first page, packed as it is sent: nothing where the server has no site in it.
async fn weight(server: &Running) -> io::Result<Option<usize>> {
    let page = target::request(server.address, "GET / HTTP/1.1", "").await?;
    let mut all = 0;
    for ending in ["qchat.css?v=", "qchat.js?v=", "qchat.wasm?v="] {
        let Some(place) = page.find(&format!("/pkg/{ending}")) else { return Ok(None) };
        let address = page[place..].split('"').next().unwrap_or_default();
        let head = format!("GET {address} HTTP/1.1\r\nAccept-Encoding: br");
        let answer = target::request(server.address, &head, "").await?;
        if target::header(&answer, "content-encoding").is_err() {
            return Ok(None);
        }
        all += target::header(&answer, "content-length")?.parse::<usize>().map_err(io::Error::other)?;
    }
    Ok(Some(all))
}

pub(crate) async fn measure(form: &Form, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    // chats of 50 messages in plenty, and one at least with very many
    history::write(&folder.path().join("many"), form.chats, 50, now)?;
    history::write(&folder.path().join("long"), 1, form.long, now)?;
    let [mut rate, mut alone, mut bare_rate, mut home, mut long_rate, mut long_alone, mut join, mut post] =
        [(); 8].map(|()| Vec::new());
    let mut weighs = None;
    for _ in 0..form.rounds {
        let mut server = target::launch(Target::Qchat, &mut target::qchat(&folder.path().join("many")))?;
        weighs = weight(&server).await?;
        let page = ask(&server, &format!("/chat/{}", history::chat(0)), form).await?;
        rate.push(page.a_core);
        alone.push(percentile(&page.alone, 0.5));
        let at_home = ask(&server, "/", form).await?;
        home.push(percentile(&at_home.alone, 0.5));
        let (short_join, short_post) = talk(&mut server, history::chat(0).to_string(), form).await?;
        drop(server);
        let mut program = std::process::Command::new(std::env::current_exe()?);
        let bytes = page.bytes.to_string();
        let bare = target::launch(Target::Bare, program.env(bare::ROLE, "page").env(BYTES, bytes))?;
        bare_rate.push(ask(&bare, "/", form).await?.a_core);
        drop(bare);
        let mut server = target::launch(Target::Qchat, &mut target::qchat(&folder.path().join("long")))?;
        let page = ask(&server, &format!("/chat/{}", history::chat(0)), form).await?;
        long_rate.push(page.a_core);
        long_alone.push(percentile(&page.alone, 0.5));
        let (long_join, long_post) = talk(&mut server, history::chat(0).to_string(), form).await?;
        join.push(long_join / short_join);
        post.push(long_post / short_post);
    }
    let ratios =
        |values: &[f64], of: &[f64]| values.iter().zip(of).map(|(value, of)| value / of).collect::<Vec<_>>();
    report.add(
        Figure::of("page of a chat with 50 messages: pages a core", "/s", &rate)
            .with_goal(Goal::AtLeast(10_000.0)),
    );
    report.add(Figure::of("bare route with as many bytes: answers a core", "/s", &bare_rate));
    report.add(Figure::of("page against the bare route", "×", &ratios(&rate, &bare_rate)));
    report.add(Figure::of("page of a chat, alone, p50", "ms", &alone).with_goal(Goal::AtMost(0.3)));
    report.add(
        Figure::of(format!("home page with {} public chats, alone, p50", form.chats), "ms", &home)
            .with_goal(Goal::AtMost(5.0)),
    );
    let long = format!("page of a chat with {} messages against one with 50", form.long);
    report.add(Figure::of(long, "× the time", &ratios(&long_alone, &alone)).with_goal(Goal::AtMost(1.2)));
    for (what, ratios) in [("to join it", &join), ("to say something there", &post)] {
        let what = format!("{what}, with {} messages against 50", form.long);
        report.add(Figure::of(what, "× the time", ratios).with_goal(Goal::AtMost(1.2)));
    }
    match weighs {
        Some(bytes) => {
            let what = "WASM, JavaScript and CSS of a first visit, brotli";
            report.add(Figure::of(what, "kB", &[bytes as f64 / 1e3]).with_goal(Goal::AtMost(150.0)));
        }
        None => report.note("This server was built without its site, which was not weighed.".to_owned()),
    }
    Ok(())
}
