//! A room of members who count what they receive, and check that all of them receive the same in the same order.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::Notify,
    task::{JoinHandle, spawn_local},
    time::{sleep_until, timeout},
};

use crate::{
    target::{DIGITS, MARK, Running, Target},
    wire::{self, Kind, Wire},
};

/// The maximum number of bytes of one read.
const READ_BYTES: usize = 256 * 1024;
/// The timeout after which a message counts as lost.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The backlog that is tolerated after a load, as a fraction of its duration. A backlog that grows all the time is
/// larger, unless the load is too high by less than this fraction.
const BACKLOG: f64 = 0.1;
/// The number of members that join at the same time.
const JOINING: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What was received so far.
#[derive(Default)]
struct Progress {
    members: usize,
    posters: usize,
    /// The numbers of the messages, in the order in which they were first received.
    order: Vec<u32>,
    /// The number of members who have not received each message.
    missing: Vec<usize>,
    /// When each message was posted, and by which poster.
    posted: Vec<(Instant, usize)>,
    /// How long each message took to the last member.
    took: Vec<Duration>,
    heard: u64,
    /// The number of reads by all members.
    reads: u64,
    /// The number of messages in flight of each poster.
    on_their_way: Vec<usize>,
    broken: Option<String>,
}

/// Members who listen.
pub(crate) struct Room {
    /// The servers that the members are connected to, in turns.
    servers: Vec<Running>,
    streams: Vec<Rc<TcpStream>>,
    control: Option<Rc<TcpStream>>,
    progress: Rc<RefCell<Progress>>,
    news: Rc<Notify>,
    tasks: Vec<JoinHandle<()>>,
    next: Cell<u32>,
}

/// The results of a run.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// The number of deliveries: one for each message and member.
    pub(crate) deliveries: u64,
    /// The number of reads by all members. One read may get several deliveries.
    pub(crate) reads: u64,
    pub(crate) elapsed: Duration,
    /// The processor time of the servers.
    pub(crate) cpu: Duration,
    /// How long each message took to the last member.
    pub(crate) took: Vec<Duration>,
}

impl Room {
    /// Fills a room.
    pub(crate) async fn fill(server: Running, members: usize, posters: usize) -> io::Result<Self> {
        Self::fill_at(vec![server], members, posters).await
    }

    /// Fills a room whose members are connected to these servers in turns, and so are those who post.
    pub(crate) async fn fill_at(servers: Vec<Running>, members: usize, posters: usize) -> io::Result<Self> {
        let control = match servers.first() {
            Some(server) if server.target == Target::Bare => {
                Some(Rc::new(wire::connect(server.address).await?))
            }
            _ => None,
        };
        let progress = Progress { members, posters, on_their_way: vec![0; posters], ..Progress::default() };
        let mut room = Self {
            servers,
            streams: Vec::new(),
            control,
            progress: Rc::new(RefCell::new(progress)),
            news: Rc::new(Notify::new()),
            tasks: Vec::new(),
            next: Cell::new(0),
        };
        while room.streams.len() < members {
            let turns = room.servers.iter().cycle().skip(room.streams.len() % room.servers.len());
            let joining = turns.take(JOINING.min(members - room.streams.len())).map(Running::join);
            for wire in futures_util::future::try_join_all(joining).await? {
                room.add_member(wire);
            }
        }
        for server in &room.servers {
            settle(server).await?;
        }
        Ok(room)
    }

    /// Returns the servers.
    pub(crate) fn servers(&self) -> &[Running] {
        &self.servers
    }

    /// Disconnects all members, and returns the servers.
    pub(crate) fn close(mut self) -> Vec<Running> {
        std::mem::take(&mut self.servers)
    }

    fn target(&self) -> Target {
        self.servers.first().map_or(Target::Qchat, |server| server.target)
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.servers.iter().map(|server| server.watched.cpu()).sum()
    }

    fn add_member(&mut self, Wire { stream, left }: Wire) {
        let stream = Rc::new(stream);
        let listener = Listener {
            stream: Rc::clone(&stream),
            left,
            is_socket_io: self.target() == Target::SocketIo,
            position: 0,
            member: self.streams.len(),
            hint: 0,
            progress: Rc::clone(&self.progress),
            news: Rc::clone(&self.news),
        };
        self.tasks.push(spawn_local(listener.listen()));
        self.streams.push(stream);
    }

    /// Posts one message after the other, each when all members have received the one before.
    pub(crate) async fn paced(&self, messages: usize) -> io::Result<Heard> {
        let before = self.begin()?;
        for _ in 0..messages {
            let number = self.post(0).await?;
            self.until(|progress| progress.took.len() as u32 > number - before.number).await?;
        }
        self.end(&before)
    }

    /// Keeps `at_once` messages of every poster in flight, for `duration`.
    pub(crate) async fn flat_out(&self, at_once: usize, duration: Duration) -> io::Result<Heard> {
        let before = self.begin()?;
        let posters = self.progress.borrow().posters;
        while before.at.elapsed() < duration {
            let mut is_full = true;
            for poster in 0..posters {
                while self.progress.borrow().on_their_way[poster] < at_once {
                    is_full = false;
                    self.post(poster).await?;
                }
            }
            if is_full {
                self.until(|progress| progress.on_their_way.iter().any(|count| *count < at_once)).await?;
            } else {
                tokio::task::yield_now().await;
            }
        }
        let posted = self.next.get() - before.number;
        self.until(|progress| progress.took.len() as u32 == posted).await?;
        self.end(&before)
    }

    /// Posts `rate` messages a second for `duration`, whether or not earlier ones were received. Returns the results,
    /// and whether the load was sustained: all messages could be posted, and the last one was received in time.
    pub(crate) async fn at_rate(&self, rate: f64, duration: Duration) -> io::Result<(Heard, bool)> {
        let before = self.begin()?;
        let posters = self.progress.borrow().posters;
        let messages = (rate * duration.as_secs_f64()).ceil() as u32;
        for turn in 0..messages {
            sleep_until((before.at + Duration::from_secs_f64(f64::from(turn) / rate)).into()).await;
            self.post(turn as usize % posters).await?;
        }
        self.until(|progress| progress.took.len() as u32 == messages).await?;
        let is_kept_up = before.at.elapsed() < duration.mul_f64(1.0 + BACKLOG);
        Ok((self.end(&before)?, is_kept_up))
    }

    fn begin(&self) -> io::Result<Before> {
        let mut progress = self.progress.borrow_mut();
        progress.took.clear();
        let cpu = self.cpu()?;
        let Progress { heard, reads, .. } = *progress;
        Ok(Before { at: Instant::now(), cpu, heard, reads, number: self.next.get() })
    }

    fn end(&self, before: &Before) -> io::Result<Heard> {
        let (elapsed, cpu) = (before.at.elapsed(), self.cpu()?.saturating_sub(before.cpu));
        let progress = self.progress.borrow();
        let deliveries = progress.heard - before.heard;
        let expected = u64::from(self.next.get() - before.number) * progress.members as u64;
        if deliveries != expected {
            return Err(io::Error::other(format!("{deliveries} of {expected} deliveries")));
        }
        let reads = progress.reads - before.reads;
        Ok(Heard { deliveries, reads, elapsed, cpu, took: progress.took.clone() })
    }

    async fn post(&self, poster: usize) -> io::Result<u32> {
        let number = self.next.get();
        self.next.set(number + 1);
        {
            let mut progress = self.progress.borrow_mut();
            progress.posted.push((Instant::now(), poster));
            progress.on_their_way[poster] += 1;
        }
        let frame = self.servers[poster % self.servers.len()].post(number);
        let stream = self.control.as_ref().unwrap_or(&self.streams[poster]);
        write_all(stream, &frame).await?;
        Ok(number)
    }

    fn look(&self, wanted: impl Fn(&Progress) -> bool) -> io::Result<bool> {
        let progress = self.progress.borrow();
        match &progress.broken {
            Some(broken) => Err(io::Error::other(broken.clone())),
            None => Ok(wanted(&progress)),
        }
    }

    async fn until(&self, wanted: impl Fn(&Progress) -> bool) -> io::Result<()> {
        let waits = async {
            loop {
                let heard = self.news.notified();
                if self.look(&wanted)? {
                    return Ok(());
                }
                heard.await;
            }
        };
        match timeout(TIMEOUT, waits).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::other(format!("{} lost messages", self.target().name()))),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Waits until a server is idle.
pub(crate) async fn settle(server: &Running) -> io::Result<()> {
    let (mut quiet, mut before) = (0, server.watched.cpu()?);
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = server.watched.cpu()?;
        quiet = if now.saturating_sub(before) < Duration::from_millis(2) { quiet + 1 } else { 0 };
        before = now;
        if quiet == 3 {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("{} does not become idle", server.target.name())))
}

struct Before {
    at: Instant,
    cpu: Duration,
    heard: u64,
    reads: u64,
    number: u32,
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The receiving end of a member.
struct Listener {
    stream: Rc<TcpStream>,
    left: Vec<u8>,
    is_socket_io: bool,
    /// The number of messages received.
    position: usize,
    member: usize,
    /// The position of the number in the last message.
    hint: usize,
    progress: Rc<RefCell<Progress>>,
    news: Rc<Notify>,
}

impl Listener {
    async fn listen(mut self) {
        let ended = loop {
            if let Err(error) = self.stream.readable().await {
                break error.to_string();
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => break "the server closed a socket".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => break error.to_string(),
            }
        };
        self.progress.borrow_mut().broken.get_or_insert(ended);
        self.news.notify_one();
    }

    /// Reads what is available. Returns false at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let count = self.stream.try_read(scratch)?;
            self.progress.borrow_mut().reads += 1;
            if self.left.is_empty() {
                let used = self.take(&scratch[..count]);
                self.left.extend_from_slice(&scratch[used..count]);
            } else {
                let mut left = std::mem::take(&mut self.left);
                left.extend_from_slice(&scratch[..count]);
                let used = self.take(&left);
                left.drain(..used);
                self.left = left;
            }
            Ok(count > 0)
        })
    }

    /// Handles all complete frames. Returns the number of bytes consumed.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some((kind, payload, length)) = wire::first(&bytes[used..]) {
            used += length;
            match kind {
                Kind::Text => self.hear(payload),
                Kind::Ping => {
                    let _ = self.stream.try_write(&wire::pong(payload));
                }
                Kind::Close => {
                    let said = String::from_utf8_lossy(payload).into_owned();
                    self.progress.borrow_mut().broken.get_or_insert(said);
                }
                Kind::Other => {}
            }
        }
        used
    }

    fn hear(&mut self, payload: &[u8]) {
        if self.is_socket_io && payload == b"2" {
            let _ = self.stream.try_write(&wire::text("3"));
        }
        let Some(number) = self.number(payload) else { return };
        let mut progress = self.progress.borrow_mut();
        let Progress { order, missing, members, .. } = &mut *progress;
        match order.get(self.position) {
            None => {
                order.push(number);
                missing.push(*members);
            }
            Some(expected) if *expected == number => {}
            Some(expected) => {
                let broken =
                    format!("member {} received message {number} instead of {expected}", self.member);
                progress.broken.get_or_insert(broken);
                return self.news.notify_one();
            }
        }
        progress.heard += 1;
        progress.missing[self.position] -= 1;
        let is_last = progress.missing[self.position] == 0;
        self.position += 1;
        let Some(&(posted, poster)) = progress.posted.get(number as usize) else { return };
        if is_last {
            progress.took.push(posted.elapsed());
        }
        let is_own = poster == self.member;
        if is_own {
            progress.on_their_way[poster] -= 1;
        }
        if is_last || is_own {
            self.news.notify_one();
        }
    }

    /// Returns the number of a message. `None` if it is another frame.
    fn number(&mut self, payload: &[u8]) -> Option<u32> {
        let is_here = |start: usize| payload.get(start..start + MARK.len()) == Some(MARK.as_bytes());
        if !is_here(self.hint) {
            self.hint = payload.windows(MARK.len()).position(|two| two == MARK.as_bytes())?;
        }
        let start = self.hint + MARK.len();
        let digits = payload.get(start..start + DIGITS)?;
        digits.iter().try_fold(0_u32, |number, digit| match digit {
            b'0'..=b'9' => Some(number * 10 + u32::from(digit - b'0')),
            _ => None,
        })
    }
}
