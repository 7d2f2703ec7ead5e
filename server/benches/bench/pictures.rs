//! Pictures: how long one takes, and what that costs those who write meanwhile.

use std::{
    convert::Infallible,
    io::{self, Cursor},
    net::SocketAddr,
    time::{Duration, Instant},
};

use image::{DynamicImage, ImageFormat, RgbImage};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    Form,
    posts::Poster,
    report::{Figure, Goal, Report, percentile},
    target::{Target, launch, qchat, session, start_chat},
    wire,
};

/// The number of pictures whose time is measured in each round.
const PICTURES: usize = 5;

/// Returns a JPEG of so many million pixels, with as much in it as a photograph.
fn photograph(megapixels: u32) -> io::Result<Vec<u8>> {
    let height = (megapixels * 750_000).isqrt();
    let image = RgbImage::from_fn(height * 4 / 3, height, |x, y| {
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)) >> 27;
        image::Rgb([x / 16 + grain, y / 16 + grain, (x + y) / 32 + grain].map(|sample| sample as u8))
    });
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut file, ImageFormat::Jpeg).map_err(io::Error::other)?;
    Ok(file.into_inner())
}

/// Uploads a picture, and returns how long it took until the ticket came.
async fn upload(address: SocketAddr, cookie: &str, chat: &str, file: &[u8]) -> io::Result<Duration> {
    let mut stream = wire::connect(address).await?;
    let length = file.len();
    let head = format!(
        "POST /api/picture?chat={chat} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let began = Instant::now();
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(file).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains("\"ticket\"") {
        Ok(began.elapsed())
    } else {
        Err(io::Error::other(answer.into_owned()))
    }
}

/// Posts messages one at a time, and returns how long each took to be acknowledged.
async fn post(
    poster: &mut Poster,
    server: &crate::target::Running,
    count: usize,
) -> io::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for _ in 0..count {
        let one = Instant::now();
        poster.post(server).await?;
        poster.answer().await?;
        took.push(one.elapsed());
    }
    Ok(took)
}

/// Uploads a picture again and again, until one fails.
async fn upload_on(address: SocketAddr, cookie: &str, chat: &str, file: &[u8]) -> io::Result<Infallible> {
    loop {
        upload(address, cookie, chat, file).await?;
    }
}

pub(crate) async fn measure(form: &Form, report: &mut Report) -> io::Result<()> {
    let file = photograph(form.megapixels)?;
    let (mut each, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..form.rounds {
        let folder = TempDir::new()?;
        // In the environment, where a program of before ignores it.
        let unlimited = [("QCHAT_PICTURE_RATE", "off"), ("QCHAT_MAX_SESSION_PICTURES", "4095")];
        let server = launch(Target::Qchat, qchat(folder.path()).envs(unlimited))?;
        let chat = start_chat(server.address).await?;
        let cookie = session(server.address).await?;
        for _ in 0..PICTURES {
            each.push(upload(server.address, &cookie, &chat, &file).await?.as_secs_f64());
        }
        let mut poster = Poster::arrive_in(&server, chat.clone()).await?;
        alone.push(post(&mut poster, &server, form.messages).await?);
        tokio::select! {
            took = post(&mut poster, &server, form.messages) => beside.push(took?),
            Err(error) = upload_on(server.address, &cookie, &chat, &file) => return Err(error),
        }
    }
    let megapixels = form.megapixels;
    report.add(
        Figure::of(format!("a picture of {megapixels} megapixels, until it can be posted"), "s", &each)
            .with_goal(Goal::AtMost(1.5)),
    );
    report.add(Figure::of_times("one post: time to acknowledgement, p99", 0.99, &alone));
    report.add(Figure::of_times("one post beside pictures: time to acknowledgement, p99", 0.99, &beside));
    let ratio = percentile(&beside.concat(), 0.99) / percentile(&alone.concat(), 0.99);
    report.add(
        Figure::of("p99 of posts beside pictures relative to posts alone", "×", &[ratio])
            .with_goal(Goal::AtMost(1.2)),
    );
    Ok(())
}
