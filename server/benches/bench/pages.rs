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
/// Pages that are compared for each message that is: a page is done in a tenth of the time.
const PAGES_A_MESSAGE: usize = 10;
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

/// Somebody who does the same again and again in a chat, and notes how long each time took.
struct Visitor<'a> {
    server: &'a Running,
    reader: Reader,
    poster: Poster,
    pages: Vec<Duration>,
    joins: Vec<Duration>,
    posts: Vec<Duration>,
}

impl<'a> Visitor<'a> {
    async fn arrive(server: &'a Running) -> io::Result<Self> {
        let reader = Reader::connect(server, &format!("/chat/{}", server.chat)).await?;
        let poster = Poster::arrive_in(server, server.chat.clone()).await?;
        Ok(Self { server, reader, poster, pages: Vec::new(), joins: Vec::new(), posts: Vec::new() })
    }

    async fn turn_page(&mut self) -> io::Result<()> {
        let one = Instant::now();
        self.reader.ask().await?;
        self.pages.push(one.elapsed());
        Ok(())
    }

    async fn join(&mut self) -> io::Result<()> {
        let cookie = session(self.server.address).await?;
        let one = Instant::now();
        let member = Member::arrive_as(self.server, cookie).await?;
        self.joins.push(one.elapsed());
        drop(member);
        Ok(())
    }

    async fn post(&mut self) -> io::Result<()> {
        let one = Instant::now();
        self.poster.post(self.server).await?;
        self.poster.answer().await?;
        self.posts.push(one.elapsed());
        Ok(())
    }
}

/// What a page, to join, and to say something take in the chat of one server against that of another, one thing at a time
/// and in turns, by the middle of each.
async fn compare(long: &Running, short: &Running, form: &Form) -> io::Result<[f64; 3]> {
    let (mut long, mut short) = (Visitor::arrive(long).await?, Visitor::arrive(short).await?);
    for _ in 0..PAGES_A_MESSAGE * form.messages {
        long.turn_page().await?;
        short.turn_page().await?;
    }
    for _ in 0..form.messages {
        for visitor in [&mut long, &mut short] {
            visitor.join().await?;
            visitor.post().await?;
        }
    }
    let ratio = |long: &[Duration], short: &[Duration]| percentile(long, 0.5) / percentile(short, 0.5);
    Ok([ratio(&long.pages, &short.pages), ratio(&long.joins, &short.joins), ratio(&long.posts, &short.posts)])
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
    let data = tempfile::tempdir()?;
    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    // chats of 50 messages in plenty, and one at least with very many
    history::write(&data.path().join("many"), form.chats, 50, now)?;
    history::write(&data.path().join("long"), 1, form.long, now)?;
    let [mut rate, mut alone, mut bare_rate, mut home, mut page, mut join, mut post] =
        [(); 7].map(|()| Vec::new());
    let mut weighs = None;
    let launch = |folder: &str| -> io::Result<Running> {
        let mut server = target::launch(Target::Qchat, &mut target::qchat(&data.path().join(folder)))?;
        server.chat = history::chat(0).to_string();
        Ok(server)
    };
    for _ in 0..form.rounds {
        let short = launch("many")?;
        weighs = weight(&short).await?;
        let of_chat = ask(&short, &format!("/chat/{}", short.chat), form).await?;
        rate.push(of_chat.a_core);
        alone.push(percentile(&of_chat.alone, 0.5));
        home.push(percentile(&ask(&short, "/", form).await?.alone, 0.5));
        let [a_page, to_join, to_post] = compare(&launch("long")?, &short, form).await?;
        page.push(a_page);
        join.push(to_join);
        post.push(to_post);
        drop(short);
        let mut program = std::process::Command::new(std::env::current_exe()?);
        let bytes = of_chat.bytes.to_string();
        let bare = target::launch(Target::Bare, program.env(bare::ROLE, "page").env(BYTES, bytes))?;
        bare_rate.push(ask(&bare, "/", form).await?.a_core);
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
    for (what, ratios) in
        [("page of a chat", &page), ("to join a chat", &join), ("to say something in a chat", &post)]
    {
        let what = format!("{what} with {} messages against one with 50", form.long);
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
