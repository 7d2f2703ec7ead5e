//! The limit of the machine for a message to many: one thread that writes the same bytes to one socket after the other,
//! and does nothing else. Runs as a process of its own, like what it is compared with.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::target::{DIGITS, MARK, body};

/// Tells this program by its environment to be the loop.
pub(crate) const ROLE: &str = "QCHAT_BENCH_ROLE";

/// What Qchat writes around the text of a message besides the head of the frame: measured at the same length, so that both
/// write as many bytes.
const ENVELOPE_BYTES: usize = 220;

/// Whoever connects first says how many messages to write; all who connect afterwards are written to.
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

fn frame() -> Vec<u8> {
    let text = format!("{}{}", "-".repeat(ENVELOPE_BYTES), body(0));
    let mut frame = vec![0x81, 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}
