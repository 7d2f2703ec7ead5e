//! The limits of the machine, each a process of its own, as the programs compared with it. For fan-out: one thread that
//! writes the same bytes to one socket after the other, and does nothing else. For acknowledged messages: a program
//! that reads them, writes back as many bytes as Qchat, and stores nothing.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    target::{DIGITS, MARK, body},
    wire::{self, MASK_BYTES},
};

/// The environment variable that tells this program what to run as.
pub(crate) const ROLE: &str = "QCHAT_BENCH_ROLE";
/// Runs as the loop of writes.
pub(crate) const LOOP: &str = "loop";
/// Runs as the program that acknowledges messages and stores nothing.
pub(crate) const ANSWERS: &str = "answers";

/// The number of bytes that Qchat writes around the text of a message, without the header of the frame: measured at the
/// same text length, so that both write the same number of bytes.
const ENVELOPE_BYTES: usize = 220;

/// Runs the loop of writes. The first connection sends how many messages to write; all connections after it get them.
pub(crate) fn run() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let (mut control, _) = listener.accept()?;
    let (joined, mut members) = (std::sync::mpsc::channel(), Vec::<TcpStream>::new());
    let sender = joined.0;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.set_nodelay(true);
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    let mut frame = frame();
    let place =
        frame.windows(MARK.len()).position(|two| two == MARK.as_bytes()).unwrap_or_default() + MARK.len();
    let (mut asked, mut number) = ([0; 4], 0_u32);
    while control.read_exact(&mut asked).is_ok() {
        members.extend(joined.1.try_iter());
        for _ in 0..u32::from_le_bytes(asked) {
            frame[place..place + DIGITS].copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
            number += 1;
            for member in &mut members {
                member.write_all(&frame)?;
            }
        }
    }
    Ok(())
}

/// Acknowledges each message at once, and echoes it as Qchat does to its author.
pub(crate) async fn answer() -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let done = br#"{"done":{"request":12345,"seq":12345}}"#;
    let answer = [frame(), vec![0x81, done.len() as u8], done.to_vec()].concat();
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let (mut heard, mut answers) = (Vec::with_capacity(64 * 1024), Vec::new());
            while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
                let mut used = 0;
                while let Some((_, _, length)) = wire::first(&heard[used..])
                    && heard.len() >= used + length + MASK_BYTES
                {
                    used += length + MASK_BYTES;
                    answers.extend_from_slice(&answer);
                }
                heard.drain(..used);
                if stream.write_all(&answers).await.is_err() {
                    return;
                }
                answers.clear();
            }
        });
    }
}

fn frame() -> Vec<u8> {
    let text = format!("{}{}", "-".repeat(ENVELOPE_BYTES), body(0));
    let mut frame = vec![0x81, 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}
