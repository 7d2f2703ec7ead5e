//! A client of the protocol, such as a bot.

use std::{collections::VecDeque, future::Future, net::SocketAddr};

use domain::{
    ChatId, ClientId, Event, Invite, Lobby, Problem, Seq, Timeline, User,
    frame::{ClientCommand, ClientFrame, Cursor, ServerFrame, VERSION},
    lobby::LobbyQuery,
    page::History,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, http::Request, protocol::CloseFrame},
};

use super::TIMEOUT;

pub(crate) type Wire = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection that was welcomed.
pub(crate) struct Client {
    pub(crate) wire: Wire,
    pub(crate) me: User,
    requests: u64,
    kept: VecDeque<ServerFrame>,
}

/// Fails the test if something that has to happen does not happen within [`TIMEOUT`].
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    match timeout(TIMEOUT, future).await {
        Ok(done) => done,
        Err(_) => panic!("nothing came within {TIMEOUT:?}"),
    }
}

/// Returns a handshake request, which can be changed before it is sent.
pub(crate) fn handshake(address: SocketAddr, cookie: Option<&str>) -> Request<()> {
    let mut request = format!("ws://{address}/live").into_client_request().unwrap();
    if let Some(cookie) = cookie {
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
    }
    request
}

/// Opens a socket without sending the hello.
pub(crate) async fn open(request: Request<()>) -> Result<Wire, tungstenite::Error> {
    // Nagle's algorithm is disabled, as in browsers.
    soon(connect_async_with_config(request, None, true)).await.map(|(wire, _)| wire)
}

/// Returns the last problem that the server sends before it closes, and the close code.
pub(crate) async fn last_words(mut wire: Wire) -> (Option<Problem>, Option<u16>) {
    let mut problem = None;
    while let Some(Ok(message)) = soon(wire.next()).await {
        match message {
            Message::Text(text) => {
                if let ServerFrame::Refused { problem: said, .. } = serde_json::from_str(&text).unwrap() {
                    problem = Some(said);
                }
            }
            Message::Close(frame) => return (problem, frame.map(|CloseFrame { code, .. }| code.into())),
            _ => {}
        }
    }
    (problem, None)
}

impl Client {
    /// Connects with a small receive buffer. With the smallest that the system allows, the TCP window closes and is
    /// reopened only by a timer, so that reading what has accumulated takes minutes.
    pub(crate) async fn connect_with_small_buffer(address: SocketAddr, cookie: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32768).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(address).await.unwrap());
        let (wire, _) = soon(client_async(handshake(address, Some(cookie)), stream)).await.unwrap();
        Self::greet(wire).await.unwrap()
    }

    pub(crate) async fn connect(address: SocketAddr, cookie: &str) -> Self {
        let wire = open(handshake(address, Some(cookie))).await.unwrap();
        Self::greet(wire).await.unwrap()
    }

    /// Sends the hello. Returns `None` if it is refused or the connection ends.
    pub(crate) async fn greet(mut wire: Wire) -> Option<Self> {
        let hello = serde_json::to_string(&ClientFrame::Hello { version: VERSION }).unwrap();
        wire.send(Message::text(hello)).await.ok()?;
        let me = loop {
            match soon(wire.next()).await?.ok()? {
                Message::Text(text) => match serde_json::from_str(&text).unwrap() {
                    ServerFrame::Welcome { me, .. } => break me,
                    ServerFrame::Refused { .. } => return None,
                    other => panic!("no welcome but {other:?}"),
                },
                Message::Close(_) => return None,
                _ => {}
            }
        };
        Some(Self { wire, me, requests: 0, kept: VecDeque::new() })
    }

    pub(crate) async fn send(&mut self, frame: &ClientFrame) {
        self.try_send(frame).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, frame: &ClientFrame) -> Result<(), tungstenite::Error> {
        self.wire.send(Message::text(serde_json::to_string(frame).unwrap())).await
    }

    /// Returns the next frame that is not a heartbeat, or `None` once the connection has ended.
    pub(crate) async fn try_next(&mut self) -> Option<ServerFrame> {
        // The timeout covers the whole loop, so that heartbeats do not extend it.
        soon(async {
            loop {
                match self.wire.next().await?.ok()? {
                    Message::Text(text) => match serde_json::from_str(&text).unwrap() {
                        ServerFrame::Beat(_) => {}
                        frame => return Some(frame),
                    },
                    Message::Close(_) => return None,
                    _ => {}
                }
            }
        })
        .await
    }

    /// Returns the next frame, including heartbeats, without a timeout.
    pub(crate) async fn next_beat_or_frame(&mut self) -> ServerFrame {
        self.try_next_beat_or_frame().await.unwrap_or_else(|| panic!("the connection ended"))
    }

    /// As [`Client::next_beat_or_frame`], or `None` once the connection has ended.
    pub(crate) async fn try_next_beat_or_frame(&mut self) -> Option<ServerFrame> {
        loop {
            match self.wire.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Returns the next frame, first those that [`Client::find`] has kept.
    pub(crate) async fn next(&mut self) -> ServerFrame {
        match self.kept.pop_front() {
            Some(frame) => frame,
            None => self.try_next().await.unwrap_or_else(|| panic!("the connection ended")),
        }
    }

    /// Returns the first frame that is wanted. Others before it are kept, in order.
    pub(crate) async fn find<T>(&mut self, wanted: impl Fn(&ServerFrame) -> Option<T>) -> T {
        for place in 0..self.kept.len() {
            if let Some(found) = wanted(&self.kept[place]) {
                self.kept.remove(place);
                return found;
            }
        }
        loop {
            let frame = self.try_next().await.unwrap_or_else(|| panic!("the connection ended"));
            match wanted(&frame) {
                Some(found) => return found,
                None => self.kept.push_back(frame),
            }
        }
    }

    /// Watches a chat. Returns the snapshot, or `None` if the cursor was resumed.
    pub(crate) async fn watch(&mut self, chat: ChatId, after: Option<Cursor>) -> Option<History> {
        self.send(&ClientFrame::Watch { chat, after }).await;
        self.find(|frame| match frame {
            ServerFrame::Snapshot { history, .. } => Some(Some(history.clone())),
            ServerFrame::Resumed { .. } => Some(None),
            ServerFrame::Refused { chat: Some(_), problem, .. } => panic!("refused: {problem:?}"),
            _ => None,
        })
        .await
    }

    /// Requests that a message is posted, and returns the number of the request.
    pub(crate) async fn ask(&mut self, chat: ChatId, client_id: ClientId, body: &str) -> u64 {
        self.requests += 1;
        let command = ClientCommand::post(chat, client_id, body.to_owned(), 0);
        self.send(&ClientFrame::Do { request: self.requests, command }).await;
        self.requests
    }

    /// Waits for the answer to a request.
    pub(crate) async fn answer(&mut self, wanted: u64) -> Result<Seq, Problem> {
        self.find(|frame| match frame {
            ServerFrame::Done { request, seq } if *request == wanted => Some(Ok(*seq)),
            ServerFrame::Refused { request: Some(request), problem, .. } if *request == wanted => {
                Some(Err(*problem))
            }
            _ => None,
        })
        .await
    }

    /// Posts a message and waits until it is stored.
    pub(crate) async fn post(
        &mut self,
        chat: ChatId,
        client_id: ClientId,
        body: &str,
    ) -> Result<Seq, Problem> {
        let request = self.ask(chat, client_id, body).await;
        self.answer(request).await
    }

    /// Returns the next event.
    pub(crate) async fn event(&mut self) -> Event {
        self.find(|frame| match frame {
            ServerFrame::Event(event) => Some(event.clone()),
            _ => None,
        })
        .await
    }

    /// Returns the next `count` events.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// Executes a command and waits for the answer.
    pub(crate) async fn do_it(&mut self, command: ClientCommand) -> Result<Seq, Problem> {
        self.requests += 1;
        self.send(&ClientFrame::Do { request: self.requests, command }).await;
        self.answer(self.requests).await
    }

    /// Subscribes to the lobby and returns its first version.
    pub(crate) async fn enter_lobby(&mut self, filter: &str, limit: usize) -> Lobby {
        self.send(&ClientFrame::Lobby(LobbyQuery { filter: filter.to_owned(), limit })).await;
        self.find(|frame| match frame {
            ServerFrame::Lobby(lobby) => Some(lobby.clone()),
            _ => None,
        })
        .await
    }

    /// Applies changes of the lobby until it is as expected.
    pub(crate) async fn until_lobby(&mut self, lobby: &mut Lobby, expected: impl Fn(&Lobby) -> bool) {
        while !expected(lobby) {
            let change = self.find(|frame| match frame {
                ServerFrame::LobbyChange(change) => Some(change.clone()),
                _ => None,
            });
            lobby.apply(change.await);
        }
    }

    /// Returns the next list of the user's invites.
    pub(crate) async fn invites(&mut self) -> Vec<Invite> {
        self.find(|frame| match frame {
            ServerFrame::Invites(invites) => Some(invites.clone()),
            _ => None,
        })
        .await
    }

    /// Returns the timeline of a reader with this history.
    pub(crate) fn timeline(&self, history: History) -> Timeline {
        Timeline::new(self.me.id, history)
    }
}
