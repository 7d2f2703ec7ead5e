//! Pages: how many are rendered per core and second, and how long one takes.

use std::{
    error::Error,
    io::{self, Write},
    mem,
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
    Form, bare,
    fanout::ratios,
    history,
    posts::Poster,
    report::{Figure, Goal, Report, percentile},
    target::{self, Member, Running, Target, session},
    wire,
};

/// The number of concurrent connections.
const CONNECTIONS: usize = 16;
/// The number of cached pages that are compared for each message: a page takes a tenth of the time.
const PAGES_A_MESSAGE: usize = 10;
/// The environment variable with the number of bytes that the bare route answers.
pub(crate) const BYTES: &str = "QCHAT_BENCH_BYTES";
/// The `Accept` header of the requests, as browsers send it. They do not accept compression, so that the server
/// compresses nothing.
const ACCEPT: &str = "text/html";

/// Runs a route that answers bytes and does nothing else, as a process of its own.
pub(crate) async fn serve_bytes() -> io::Result<()> {
    let length = std::env::var(BYTES).ok().and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
    let bytes = Bytes::from(vec![b'x'; length]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    axum::serve(listener, Router::new().route("/", get(move || async move { bytes }))).await
}

/// A persistent connection.
struct Reader {
    stream: TcpStream,
    request: Vec<u8>,
    left: Vec<u8>,
}

impl Reader {
    async fn connect(server: &Running, path: &str) -> io::Result<Self> {
        let stream = wire::connect(server.address).await?;
        let address = server.address;
        // Without a cookie, so each page is that of a new user.
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {ACCEPT}\r\n\r\n");
        Ok(Self { stream, request: request.into_bytes(), left: Vec::new() })
    }

    /// Sends a request and reads the response to its end. Returns the length of its body.
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

/// Returns the length of the body of the first response, and where the response ends. `None` if it is incomplete.
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

/// The results for one address.
struct Asked {
    /// The number of responses per second of processor time.
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

/// A user who does the same again and again in a chat, and records how long each time took.
struct Visitor<'a> {
    server: &'a Running,
    chat: String,
    reader: Reader,
    poster: Poster,
    kept: Vec<Duration>,
    anew: Vec<Duration>,
    posts: Vec<Duration>,
    joins: Vec<Duration>,
}

impl<'a> Visitor<'a> {
    async fn arrive(server: &'a Running, chat: String) -> io::Result<Self> {
        let reader = Reader::connect(server, &format!("/chat/{chat}")).await?;
        let poster = Poster::arrive_in(server, chat.clone()).await?;
        let [kept, anew, posts, joins] = [(); 4].map(|()| Vec::new());
        Ok(Self { server, chat, reader, poster, kept, anew, posts, joins })
    }

    /// Reads the page from the render cache: nothing was posted since the last time.
    async fn read_kept(&mut self) -> io::Result<()> {
        let one = Instant::now();
        self.reader.ask().await?;
        self.kept.push(one.elapsed());
        Ok(())
    }

    /// Posts a message, and reads the page, which has to be rendered again.
    async fn post_and_read(&mut self) -> io::Result<()> {
        let one = Instant::now();
        self.poster.post(self.server).await?;
        self.poster.answer().await?;
        self.posts.push(one.elapsed());
        let one = Instant::now();
        self.reader.ask().await?;
        self.anew.push(one.elapsed());
        Ok(())
    }

    /// Joins as a new user, and leaves. The user stays a member for some seconds, so this is done last.
    async fn join(&mut self) -> io::Result<()> {
        let cookie = session(self.server.address).await?;
        let one = Instant::now();
        let member = Member::arrive_as(self.server, &self.chat, cookie).await?;
        self.joins.push(one.elapsed());
        drop(member);
        Ok(())
    }
}

/// The results of doing the same in two chats.
struct Compared {
    /// The ratios of the times in the first chat to those in the second: for a cached page (`kept`), a page that is
    /// rendered again (`anew`), to join (`join`) and to post (`post`).
    kept: f64,
    anew: f64,
    join: f64,
    post: f64,
    /// How long the pages that were rendered again took in the second chat.
    took_anew: Vec<Duration>,
}

/// Does the same in a long and in a short chat, one thing at a time and in turns, and compares the medians.
async fn compare(server: &Running, long: String, short: String, form: &Form) -> io::Result<Compared> {
    let (mut long, mut short) = (Visitor::arrive(server, long).await?, Visitor::arrive(server, short).await?);
    for _ in 0..PAGES_A_MESSAGE * form.messages {
        long.read_kept().await?;
        short.read_kept().await?;
    }
    for _ in 0..form.messages {
        long.post_and_read().await?;
        short.post_and_read().await?;
    }
    for _ in 0..form.messages {
        long.join().await?;
        short.join().await?;
    }
    let ratio = |long: &[Duration], short: &[Duration]| percentile(long, 0.5) / percentile(short, 0.5);
    Ok(Compared {
        kept: ratio(&long.kept, &short.kept),
        anew: ratio(&long.anew, &short.anew),
        join: ratio(&long.joins, &short.joins),
        post: ratio(&long.posts, &short.posts),
        took_anew: short.anew,
    })
}

/// Returns the compressed size of what a browser loads with its first page, in bytes. `None` if the server was built
/// without its site.
async fn weight(server: &Running) -> io::Result<Option<usize>> {
    let page = target::request(server.address, "GET / HTTP/1.1", "").await?;
    let mut all = 0;
    for file in ["/boot.js?v=", "/pkg/qchat.css?v=", "/pkg/qchat.js?v=", "/pkg/qchat.wasm?v="] {
        let Some(place) = page.find(file) else { return Ok(None) };
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
    // Many chats of 50 messages, and the first of them with many more.
    history::write(data.path(), form.chats, 50, form.long, now)?;
    let [mut rate, mut bare_rate] = [(); 2].map(|()| Vec::new());
    let [mut alone, mut home, mut anew] = [(); 3].map(|()| Vec::new());
    let (mut compared, mut weighs) = (Vec::new(), None);
    for round in 1..=form.rounds {
        let server = target::launch(Target::Qchat, &mut target::qchat(data.path()))?;
        weighs = weight(&server).await?;
        // Another one in each round, since messages are posted in it.
        let [long, short] = [0, round as u64].map(|number| history::chat(number).to_string());
        let of_chat = ask(&server, &format!("/chat/{short}"), form).await?;
        rate.push(of_chat.a_core);
        alone.push(of_chat.alone);
        home.push(ask(&server, "/", form).await?.alone);
        let mut of_both = compare(&server, long, short, form).await?;
        anew.push(mem::take(&mut of_both.took_anew));
        compared.push(of_both);
        drop(server);
        let mut program = std::process::Command::new(std::env::current_exe()?);
        let bytes = of_chat.bytes.to_string();
        let bare = target::launch(Target::Bare, program.env(bare::ROLE, "page").env(BYTES, bytes))?;
        bare_rate.push(ask(&bare, "/", form).await?.a_core);
    }
    report.add(
        Figure::of("cached page of a chat with 50 messages: pages per core", "/s", &rate)
            .with_goal(Goal::AtLeast(10_000.0)),
    );
    report.add(Figure::of("bare route with as many bytes: responses per core", "/s", &bare_rate));
    report.add(Figure::of("cached page relative to the bare route", "×", &ratios(&rate, &bare_rate)));
    report.add(
        Figure::of_times("cached page of a chat, no other load, p50", 0.5, &alone)
            .with_goal(Goal::AtMost(0.3)),
    );
    report.add(Figure::of_times("page of a chat just after a message, no other load, p50", 0.5, &anew));
    let at_home = format!("home page with {} public chats, no other load, p50", form.chats);
    report.add(Figure::of_times(at_home, 0.5, &home).with_goal(Goal::AtMost(5.0)));
    let each = |of: fn(&Compared) -> f64| compared.iter().map(of).collect::<Vec<_>>();
    for (label, ratios) in [
        ("cached page of a chat", each(|of| of.kept)),
        ("page just after a message in a chat", each(|of| of.anew)),
        ("join of a chat", each(|of| of.join)),
        ("post to a chat", each(|of| of.post)),
    ] {
        let label = format!("{label} with {} messages relative to one with 50", form.long);
        report.add(Figure::of(label, "× the time", &ratios).with_goal(Goal::AtMost(1.2)));
    }
    match weighs {
        Some(bytes) => {
            let label = "WASM, JavaScript and CSS of a first visit, brotli";
            report.add(Figure::of(label, "kB", &[bytes as f64 / 1e3]).with_goal(Goal::AtMost(170.0)));
        }
        None => {
            report.note("This server was built without its site, whose size was not measured.".to_owned());
        }
    }
    Ok(())
}
