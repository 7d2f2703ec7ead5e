//! The programs that are measured, each in a process of its own: Qchat, the bare loop, and the peers.

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use domain::{ClientId, id::ID_BYTES, lobby::PAGE_LISTINGS};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    bare,
    machine::Watched,
    wire::{self, Kind, Wire},
};

/// The length of the text of every message, in bytes.
pub(crate) const BODY_BYTES: usize = 250;
/// Precedes the number of a message in its text.
pub(crate) const MARK: &str = "@@";
/// The number of digits of that number.
pub(crate) const DIGITS: usize = 8;

/// A program that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// This server.
    Qchat,
    /// A single thread that writes the bytes of Qchat's frame to one socket after the other, and does nothing else.
    Bare,
    /// The package `ws`: sends each message to all connections.
    Ws,
    /// The package `socket.io`: emits each message to a room.
    SocketIo,
}

/// A running target. It is killed when this is dropped.
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) watched: Watched,
    child: Child,
    /// The chat of Qchat. Empty for other targets.
    pub(crate) chat: String,
    folder: Option<TempDir>,
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qchat => "Qchat",
            Self::Bare => "bare write loop",
            Self::Ws => "ws",
            Self::SocketIo => "socket.io",
        }
    }

    /// Starts the target, with a room to join.
    pub(crate) async fn start(self) -> io::Result<Running> {
        match self {
            Self::Qchat => {
                let folder = TempDir::new()?;
                let mut running = launch(self, &mut qchat(folder.path()))?;
                running.chat = start_chat(running.address).await?;
                running.keep(folder);
                Ok(running)
            }
            Self::Bare => launch(self, Command::new(std::env::current_exe()?).env(bare::ROLE, bare::LOOP)),
            Self::Ws | Self::SocketIo => {
                let file = if self == Self::Ws { "ws.js" } else { "socketio.js" };
                launch(self, Command::new("node").arg(peers().join(file)))
            }
        }
    }
}

/// Returns the folder of the peers.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}

/// Returns the command that starts Qchat without limits.
pub(crate) fn qchat(data_dir: &Path) -> Command {
    let program =
        std::env::var_os("QCHAT_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_qchat").into());
    let mut command = Command::new(program);
    command.args(["--site-addr", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    for rate in ["page", "connect", "chat", "message", "rename", "invite"] {
        command.args([format!("--{rate}-rate"), "off".to_owned()]);
    }
    for cap in ["sockets", "session-sockets", "members", "user-chats", "listed"] {
        command.args([format!("--max-{cap}"), "1000000".to_owned()]);
    }
    command.args(["--max-session-storage", "4095"]).env("QCHAT_LOG", "error");
    command
}

/// Starts a process that prints its address in its first line.
pub(crate) fn launch(target: Target, command: &mut Command) -> io::Result<Running> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let address = line.trim().rsplit("http://").next().and_then(|address| address.parse().ok());
    let Some(address) = address else {
        let _ = child.kill();
        return Err(io::Error::other(format!("{} did not start: {line:?}", target.name())));
    };
    let watched = Watched(child.id());
    Ok(Running { target, address, watched, child, chat: String::new(), folder: None })
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends an HTTP/1.1 request and reads the response to its end.
pub(crate) async fn request(address: SocketAddr, head: &str, body: &str) -> io::Result<String> {
    let mut stream = wire::connect(address).await?;
    let length = body.len();
    let all =
        format!("{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(all.as_bytes()).await?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// Returns the value of a header of a response.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> io::Result<&'a str> {
    let found = answer.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| *known == name);
    found.map(|(_, value)| value).ok_or_else(|| io::Error::other(format!("no {name} in {answer}")))
}

/// Creates a session of Qchat, and returns its cookie.
pub(crate) async fn session(address: SocketAddr) -> io::Result<String> {
    let answer = request(address, "GET /api/none HTTP/1.1", "").await;
    let answer = match answer {
        Ok(answer) if answer.contains("set-cookie: ") => answer,
        _ => request(address, "GET / HTTP/1.1", "").await?,
    };
    let cookie = header(&answer, "set-cookie")?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

/// Starts a chat of Qchat as a new user, and returns its id.
pub(crate) async fn start_chat(address: SocketAddr) -> io::Result<String> {
    let cookie = session(address).await?;
    let head = format!(
        "POST /api/start_chat HTTP/1.1\r\nAccept: text/html\r\nCookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded"
    );
    let answer = request(address, &head, "nickname=Ana&title=Bench").await?;
    let place = header(&answer, "location")?;
    Ok(place.trim_start_matches("/chat/").to_owned())
}

/// Returns the text of a message.
pub(crate) fn body(number: u32) -> String {
    let head = format!("{MARK}{number:0DIGITS$} ");
    format!("{head}{}", "x".repeat(BODY_BYTES - head.len()))
}

impl Running {
    /// Removes this folder when the target has ended.
    pub(crate) fn keep(&mut self, folder: TempDir) {
        self.folder = Some(folder);
    }

    /// Returns the folder that is removed when the target has ended, and leaves it.
    pub(crate) fn take_folder(&mut self) -> Option<TempDir> {
        self.folder.take()
    }

    /// Joins the room as a new member, who receives all messages from then on.
    pub(crate) async fn join(&self) -> io::Result<Wire> {
        match self.target {
            Target::Bare => Ok(Wire { stream: wire::connect(self.address).await?, left: Vec::new() }),
            Target::Ws => wire::open(self.address, "/", "").await,
            Target::SocketIo => {
                let mut wire = wire::open(self.address, "/socket.io/?EIO=4&transport=websocket", "").await?;
                expect(&mut wire, "0{").await?;
                wire.stream.write_all(&wire::text("40")).await?;
                expect(&mut wire, "40{").await?;
                Ok(wire)
            }
            Target::Qchat => self.join_chat(&self.chat).await,
        }
    }

    /// Joins a chat of Qchat as a new user.
    pub(crate) async fn join_chat(&self, chat: &str) -> io::Result<Wire> {
        let mut wire = self.greet(&session(self.address).await?, chat, None).await?;
        expect(&mut wire, r#"{"snapshot""#).await?;
        Ok(wire)
    }

    /// Connects to Qchat as a new user, without joining a chat.
    pub(crate) async fn visit(&self) -> io::Result<Wire> {
        let mut wire = wire::open(self.address, "/live", &session(self.address).await?).await?;
        let version = domain::frame::VERSION;
        wire.stream.write_all(&wire::text(&format!(r#"{{"hello":{{"version":{version}}}}}"#))).await?;
        expect(&mut wire, r#"{"welcome""#).await?;
        Ok(wire)
    }

    /// Connects to Qchat as a new user on the home page.
    pub(crate) async fn visit_home(&self) -> io::Result<Wire> {
        let mut wire = self.visit().await?;
        let lobby = wire::text(&format!(r#"{{"lobby":{{"filter":"","limit":{PAGE_LISTINGS}}}}}"#));
        wire.stream.write_all(&lobby).await?;
        expect(&mut wire, r#"{"lobby""#).await?;
        Ok(wire)
    }

    /// Sends the hello and watches a chat, from a cursor if there is one.
    async fn greet(&self, cookie: &str, chat: &str, after: Option<&str>) -> io::Result<Wire> {
        let mut wire = wire::open(self.address, "/live", cookie).await?;
        let version = domain::frame::VERSION;
        let hello = wire::text(&format!(r#"{{"hello":{{"version":{version}}}}}"#));
        let after = after.map(|after| format!(r#","after":{after}"#)).unwrap_or_default();
        let watch = wire::text(&format!(r#"{{"watch":{{"chat":"{chat}"{after}}}}}"#));
        wire.stream.write_all(&[hello, watch].concat()).await?;
        Ok(wire)
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }

    /// Returns the bytes that post the message with this number in the room.
    pub(crate) fn post(&self, number: u32) -> Vec<u8> {
        match self.target {
            Target::Bare => 1_u32.to_le_bytes().to_vec(),
            Target::Ws => wire::text(&body(number)),
            Target::SocketIo => wire::text(&format!(r#"42["m","{}"]"#, body(number))),
            Target::Qchat => self.post_to(&self.chat, number),
        }
    }

    /// Returns the bytes that post the message with this number in a chat of Qchat.
    pub(crate) fn post_to(&self, chat: &str, number: u32) -> Vec<u8> {
        let mut id = [0; ID_BYTES];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let (client_id, body) = (ClientId::from_bytes(id), body(number));
        let post = format!(r#"{{"post":{{"chat":"{chat}","client_id":"{client_id}","body":"{body}"}}}}"#);
        wire::text(&format!(r#"{{"do":{{"request":{number},"command":{post}}}}}"#))
    }
}

/// A member of a chat of Qchat who posts nothing.
pub(crate) struct Member {
    cookie: String,
    cursor: String,
    wire: Option<Wire>,
}

impl Member {
    pub(crate) async fn arrive(server: &Running) -> io::Result<Self> {
        Self::arrive_as(server, &server.chat, session(server.address).await?).await
    }

    /// Joins a chat with an existing session.
    pub(crate) async fn arrive_as(server: &Running, chat: &str, cookie: String) -> io::Result<Self> {
        let mut wire = server.greet(&cookie, chat, None).await?;
        let snapshot = expect(&mut wire, r#"{"snapshot""#).await?;
        let part = |from: &str, to: char| -> Option<&str> {
            snapshot.split_once(from)?.1.split_once(to).map(|(part, _)| part)
        };
        let cursor = part(r#""history":{"epoch":""#, '"').zip(part(r#"","seq":"#, ','));
        let Some((epoch, seq)) = cursor else { return Err(io::Error::other(snapshot)) };
        let cursor = format!(r#"{{"epoch":"{epoch}","seq":{seq}}}"#);
        Ok(Self { cookie, cursor, wire: Some(wire) })
    }

    pub(crate) fn leave(&mut self) {
        self.wire = None;
    }

    pub(crate) async fn come_back(&mut self, server: &Running) -> io::Result<()> {
        let mut wire = server.greet(&self.cookie, &server.chat, Some(&self.cursor)).await?;
        expect(&mut wire, r#"{"resumed""#).await?;
        self.wire = Some(wire);
        Ok(())
    }
}

/// Reads until a text with this beginning, and returns it.
pub(crate) async fn expect(wire: &mut Wire, beginning: &str) -> io::Result<String> {
    loop {
        while let Some((kind, payload, length)) = wire::first(&wire.left) {
            let is_it = kind == Kind::Text && payload.starts_with(beginning.as_bytes());
            if kind == Kind::Close {
                return Err(io::Error::other(format!("closed: {}", String::from_utf8_lossy(payload))));
            }
            let text = is_it.then(|| String::from_utf8_lossy(payload).into_owned());
            wire.left.drain(..length);
            if let Some(text) = text {
                return Ok(text);
            }
        }
        if wire.stream.read_buf(&mut wire.left).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
