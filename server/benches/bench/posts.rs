//! The cost of durable posts: many at once in many chats, and one at a time.

use std::{
    env,
    fs::File,
    io::{self, Write},
    process::Command,
    time::{Duration, Instant},
};

use domain::{ChatId, id::ID_BYTES};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    Form, bare,
    fanout::ratios,
    report::{Figure, Goal, Report, percentile},
    target::{BODY_BYTES, Running, Target, launch, start_chat},
    wire::{self, Kind, Wire},
};

/// The number of users who post, each in a chat of their own. Each has [`AT_ONCE`] posts in flight.
const POSTERS: usize = 32;
const AT_ONCE: u32 = 32;
/// The number of records in one bare append: the maximum of the writer.
const BATCH: usize = 256;
/// The number of bytes of a bare record: as many as Qchat stores of a message.
const RECORD_BYTES: usize = BODY_BYTES + 60;

/// A user who posts.
pub(crate) struct Poster {
    wire: Wire,
    chat: String,
    next: u32,
    /// The number of answers received that were not waited for yet.
    left: u32,
}

impl Poster {
    pub(crate) async fn arrive(server: &Running) -> io::Result<Self> {
        let chat = start_chat(server.address).await?;
        Self::arrive_in(server, chat).await
    }

    /// Creates a new user in an existing chat.
    pub(crate) async fn arrive_in(server: &Running, chat: String) -> io::Result<Self> {
        let wire = server.join_chat(&chat).await?;
        Ok(Self { wire, chat, next: 0, left: 0 })
    }

    /// Creates a new user who posts in chats without joining them.
    pub(crate) async fn pass_by(server: &Running) -> io::Result<Self> {
        Ok(Self { wire: server.visit().await?, chat: String::new(), next: 0, left: 0 })
    }

    /// Connects to the program that acknowledges messages and stores nothing.
    async fn arrive_at_answers(server: &Running) -> io::Result<Self> {
        let wire = Wire { stream: wire::connect(server.address).await?, left: Vec::new() };
        Ok(Self { wire, chat: ChatId::from_bytes([0; ID_BYTES]).to_string(), next: 0, left: 0 })
    }

    /// Posts a message in this chat, and posts there from now on.
    pub(crate) async fn post_in(&mut self, server: &Running, chat: &str) -> io::Result<()> {
        chat.clone_into(&mut self.chat);
        self.post(server).await
    }

    pub(crate) async fn post(&mut self, server: &Running) -> io::Result<()> {
        self.next += 1;
        self.wire.stream.write_all(&server.post_to(&self.chat, self.next)).await
    }

    /// Waits for at least one answer. Returns the number of answers received.
    async fn answers(&mut self) -> io::Result<u32> {
        loop {
            let (mut used, mut answers) = (0, 0);
            while let Some((kind, payload, length)) = wire::first(&self.wire.left[used..]) {
                used += length;
                if kind == Kind::Text && payload.starts_with(br#"{"done""#) {
                    answers += 1;
                } else if payload.starts_with(br#"{"refused""#) {
                    return Err(io::Error::other(String::from_utf8_lossy(payload).into_owned()));
                }
            }
            self.wire.left.drain(..used);
            if answers > 0 {
                return Ok(answers);
            }
            if self.wire.stream.read_buf(&mut self.wire.left).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits for one answer.
    pub(crate) async fn answer(&mut self) -> io::Result<()> {
        if self.left == 0 {
            self.left = self.answers().await?;
        }
        self.left -= 1;
        Ok(())
    }

    /// Posts as fast as the answers come, for `duration`. Returns the number of acknowledged posts.
    pub(crate) async fn flood(&mut self, server: &Running, duration: Duration) -> io::Result<u32> {
        let began = Instant::now();
        let (mut open, mut acknowledged) = (0, 0);
        while began.elapsed() < duration || open > 0 {
            while open < AT_ONCE && began.elapsed() < duration {
                self.post(server).await?;
                open += 1;
            }
            let answers = self.answers().await?;
            open -= answers;
            acknowledged += answers;
        }
        Ok(acknowledged)
    }
}

/// Appends records to a file, `batch` of them with one fsync, for `duration`. Returns the number of records per second,
/// and how long each append took.
fn append(batch: usize, duration: Duration) -> io::Result<(f64, Vec<Duration>)> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("log"))?;
    let records = vec![b'x'; batch * RECORD_BYTES];
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < duration {
        let one = Instant::now();
        file.write_all(&records)?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    Ok(((took.len() * batch) as f64 / began.elapsed().as_secs_f64(), took))
}

/// Posts as all users, as fast as the answers come, for `duration`. Returns the number of acknowledged posts per
/// second.
async fn flood(server: &Running, posters: &mut [Poster], duration: Duration) -> io::Result<f64> {
    let began = Instant::now();
    let done = try_join_all(posters.iter_mut().map(|poster| poster.flood(server, duration))).await?;
    Ok(f64::from(done.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    let (mut rates, mut answered, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..form.rounds {
        let server = Target::Qchat.start().await?;
        let mut posters = try_join_all((0..POSTERS).map(|_| Poster::arrive(&server))).await?;
        flood(&server, &mut posters, form.flat_out / 5).await?;
        rates.push(flood(&server, &mut posters, form.flat_out).await?);
        {
            let server =
                launch(Target::Bare, Command::new(env::current_exe()?).env(bare::ROLE, bare::ANSWERS))?;
            let mut posters = try_join_all((0..POSTERS).map(|_| Poster::arrive_at_answers(&server))).await?;
            flood(&server, &mut posters, form.flat_out / 5).await?;
            answered.push(flood(&server, &mut posters, form.flat_out).await?);
        }
        bare.push(append(BATCH, form.flat_out / 2)?.0);
        let mut took = Vec::new();
        for _ in 0..form.messages {
            let one = Instant::now();
            posters[0].post(&server).await?;
            posters[0].answers().await?;
            took.push(one.elapsed());
        }
        ours.push(took);
        theirs.push(append(1, form.flat_out / 2)?.1);
    }
    report.add(Figure::of(format!("durable posts, {POSTERS} chats"), "/s", &rates));
    report.add(Figure::of(format!("bare append, {BATCH} records per fsync: records"), "/s", &bare));
    let against =
        |label: &str, of| Figure::of(format!("durable posts relative to {label}"), "×", &ratios(&rates, of));
    report.add(against("the bare append", &bare).with_goal(Goal::AtLeast(0.7)));
    report.add(Figure::of("posts to a server that acknowledges without storing", "/s", &answered));
    report.add(against("a server that acknowledges without storing", &answered));
    let [all_ours, all_theirs] = [&ours, &theirs].map(|took| percentile(&took.concat(), 0.5));
    report.add(Figure::of_times("one post: time to acknowledgement, p50", 0.5, &ours));
    report.add(Figure::of_times("bare append of one record with fsync, p50", 0.5, &theirs));
    report.add(
        Figure::of("one post: time beyond one fsync", "ms", &[all_ours - all_theirs])
            .with_goal(Goal::AtMost(1.0)),
    );
    Ok(())
}
