//! Clients that are slow, silent or half gone do not affect others, use a bounded amount of memory, and are
//! disconnected. Most of these tests would take a minute: once a client is slow, the clock of the test is paused, so
//! that time passes as fast as nothing else happens.

use std::{io, time::Duration};

use domain::{EventKind, UserId, frame::ServerFrame, page::PAGE_EVENTS};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};
use tokio_tungstenite::MaybeTlsStream;

use crate::support::{Client, TestServer, client_id};

/// The longest time until a dead connection is noticed (docs/guarantees.md): the timeout for silence and the grace
/// period for reloads.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Waits until another user has left, at most five minutes.
async fn see_off(here: &mut Client, id: UserId) {
    let gone = async {
        loop {
            match here.next_beat_or_frame().await {
                ServerFrame::RosterChange { change, .. } if change.gone.contains(&id) => break,
                _ => {}
            }
        }
    };
    time::timeout(Duration::from_secs(300), gone).await.unwrap();
}

/// Reads until the server closes the connection. Returns what was received and how long it took.
async fn until_the_end(stream: &mut TcpStream) -> (String, Duration) {
    let (mut heard, began) = (Vec::new(), Instant::now());
    let ended = time::timeout(Duration::from_secs(300), stream.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "it was not ended within five minutes");
    (String::from_utf8_lossy(&heard).into_owned(), began.elapsed())
}

#[tokio::test]
async fn a_request_of_one_byte_a_second_is_not_waited_for() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    time::pause();
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            time::sleep(Duration::from_secs(1)).await;
        }
    });
    let began = Instant::now();
    let mut heard = Vec::new();
    let ended = time::timeout(Duration::from_secs(300), reader.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "it was not ended within five minutes");
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    drip.abort();
}

#[tokio::test]
async fn a_client_that_connects_and_sends_nothing_is_disconnected() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    time::pause();
    let (_, after) = until_the_end(&mut stream).await;
    assert!(after < Duration::from_secs(45), "{after:?}");
}

#[tokio::test]
async fn a_form_that_does_not_come_to_its_end_is_answered() {
    let server = TestServer::start().await;
    let person = server.person().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /api/start_chat HTTP/1.1\r\nHost: x\r\nCookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nnickname=",
        person.cookie
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    time::pause();
    let (said, after) = until_the_end(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(after < Duration::from_secs(60), "{after:?}");
}

/// The operating system detects this one, so the clock cannot be paused: it takes half a minute.
#[tokio::test]
async fn a_response_that_is_not_read_is_not_kept() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let began = Instant::now();
    // More is requested than the buffers between the two can hold.
    let requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let asks = async {
        loop {
            stream.write_all(requests.as_bytes()).await?;
        }
    };
    let ended: Result<io::Result<()>, _> = time::timeout(Duration::from_secs(120), asks).await;
    assert!(ended.is_ok_and(|asked| asked.is_err()), "it was not ended within two minutes");
    println!("the slow reader was disconnected after {:.1?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_sends_and_answers_nothing_is_gone_within_a_minute() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let silent = bea.watch(chat).await;
    let mut here = ana.watch(chat).await;
    let began = Instant::now();
    time::pause();
    // It reads nothing, and so answers no ping, like a machine that lost its network.
    see_off(&mut here, silent.me.id).await;
    assert!(began.elapsed() < GONE_WITHIN, "{:?}", began.elapsed());
    drop(silent);
}

#[tokio::test]
async fn a_frame_of_one_byte_a_second_is_silence() {
    let server = TestServer::start().await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut slow = bea.watch(chat).await;
    let MaybeTlsStream::Plain(stream) = slow.wire.get_mut() else { panic!("no TLS here") };
    // The header of a text frame of 60,000 bytes, masked with zeros.
    stream.write_all(&[0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0]).await.unwrap();
    time::pause();
    let began = Instant::now();
    while stream.write_all(b" ").await.is_ok() {
        time::sleep(Duration::from_secs(1)).await;
        assert!(began.elapsed() < GONE_WITHIN, "it is still there");
    }
}

#[tokio::test]
async fn a_reader_who_takes_nothing_does_not_keep_a_server_from_stopping() {
    let server = TestServer::start().await;
    let (ana, cy) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut stuck = Client::connect_with_small_buffer(server.address(), &cy.cookie).await;
    stuck.watch(chat, None).await;
    let mut here = ana.watch(chat).await;
    let text = "x".repeat(4_000);
    for number in 0..1_500 {
        here.post(chat, client_id(number), &text).await.unwrap();
    }
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(stuck);
}

#[tokio::test]
async fn a_reader_who_takes_nothing_holds_no_other_reader_up() {
    let server = TestServer::start().await;
    let (ana, bea, cy) = (server.person().await, server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut stuck = Client::connect_with_small_buffer(server.address(), &cy.cookie).await;
    stuck.watch(chat, None).await;
    let (mut here, mut there) = (ana.watch(chat).await, bea.watch(chat).await);
    let text = "x".repeat(4_000);
    let began = Instant::now();
    for number in 0..2_000 {
        here.post(chat, client_id(number), &text).await.unwrap();
        there.event().await;
    }
    println!("2,000 messages of 4,000 bytes with a reader that reads nothing: {:.1?}", began.elapsed());
    // What waits for the stuck client is in the log and not in memory, and the client is disconnected.
    time::pause();
    see_off(&mut here, stuck.me.id).await;
    time::resume();
    let history = cy.connect().await.watch(chat, None).await.unwrap();
    let newest = history.events.last().map(|event| &event.kind);
    assert!(
        matches!(newest, Some(EventKind::Said(message)) if message.client_id == client_id(1_999)),
        "and finds everything when it comes back"
    );
    // A page of long messages has fewer of them.
    assert!((20..PAGE_EVENTS).contains(&history.events.len()) && history.earlier);
}
