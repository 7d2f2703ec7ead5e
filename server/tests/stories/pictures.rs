//! Pictures: uploaded, posted, seen by whom they are for, and gone with their message.

use std::{fs, io::Cursor, net::SocketAddr, path::Path, time::Duration};

use domain::{
    ChatId, Picture, Problem, Seq,
    frame::{ClientCommand, ServerFrame},
    picture::PictureTicket,
};
use image::{DynamicImage, ImageFormat, RgbImage};
use reqwest::{
    StatusCode,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH, LOCATION, ORIGIN},
};
use serde::Deserialize;
use server::{
    backup::{backup, check, restore},
    start::PICTURES,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
    time::{self, sleep},
};

use crate::support::{
    Answer, Client, FakeClock, Person, TestServer, client::soon, client_id, process::Process,
};

const BOUNDARY: &str = "----a-boundary";

#[derive(Deserialize)]
struct Uploaded {
    ticket: String,
    width: u16,
    height: u16,
}

fn file(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(crate) fn jpeg() -> Vec<u8> {
    file(600, 300, ImageFormat::Jpeg)
}

pub(crate) async fn send(person: &Person, chat: ChatId, file: Vec<u8>) -> Answer {
    let path = format!("/api/picture?chat={chat}");
    person.request(person.http.post(person.url(&path)).body(file)).await
}

pub(crate) async fn upload(person: &Person, chat: ChatId) -> String {
    let answer = send(person, chat, jpeg()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let Uploaded { ticket, width, height } = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((width, height), (600, 300));
    ticket
}

pub(crate) fn problem_of(answer: &Answer) -> Problem {
    match serde_json::from_str(&answer.text).unwrap() {
        ServerFrame::Refused { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn post(
    client: &mut Client,
    chat: ChatId,
    number: u64,
    body: &str,
    tickets: &[&str],
) -> Result<Seq, Problem> {
    let ClientCommand::Post { client_id, body, waited_millis, reply_to, mentions, is_action, .. } =
        ClientCommand::post(chat, client_id(number), body.to_owned(), 0)
    else {
        panic!("a post is one");
    };
    let ticket = |ticket: &&str| PictureTicket { ticket: (*ticket).to_owned(), alt: "A cat".to_owned() };
    let pictures = tickets.iter().map(ticket).collect();
    client
        .do_it(ClientCommand::Post {
            chat,
            client_id,
            body,
            waited_millis,
            reply_to,
            mentions,
            pictures,
            is_action,
        })
        .await
}

/// Returns the pictures of the message that comes next.
pub(crate) async fn pictures(client: &mut Client) -> (Seq, Vec<Picture>) {
    loop {
        let event = client.event().await;
        if let Some(message) = event.kind.message() {
            return (event.seq, message.pictures.clone());
        }
    }
}

pub(crate) fn address(chat: ChatId, message: Seq, picture: &Picture) -> String {
    format!("/picture/{chat}/{message}/{}", picture.id)
}

pub(crate) async fn look(person: &Person, path: &str) -> StatusCode {
    person.request(person.http.get(person.url(path))).await.status
}

pub(crate) fn files(folder: &Path) -> usize {
    fs::read_dir(folder.join(PICTURES)).unwrap().count()
}

async fn until_there_are(count: usize, folder: &Path) {
    soon(async {
        while files(folder) != count {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_picture_is_seen_by_members_and_gone_with_its_message() {
    let clock = FakeClock::default();
    let server = TestServer::start_at(&clock, |_| {}).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let ticket = upload(&ana, chat).await;
    let (mut at_ana, mut at_bea) = (ana.watch(chat).await, bea.watch(chat).await);
    post(&mut at_ana, chat, 1, "", &[&ticket]).await.unwrap();
    let (seq, posted) = pictures(&mut at_bea).await;
    let [picture] = &*posted else { panic!("{posted:?}") };
    assert_eq!((picture.width, picture.height, picture.small), (600, 300, (480, 240)));
    assert_eq!(picture.alt.as_str(), "A cat");

    let path = address(chat, seq, picture);
    for (path, longer) in [(path.clone(), 600), (format!("{path}/small"), 480)] {
        let answer = bea.http.get(bea.url(&path)).header(COOKIE, &bea.cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], "image/jpeg");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
        let tag = answer.headers()[ETAG].clone();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().width(), longer);
        let again = bea.request(bea.http.get(bea.url(&path)).header(IF_NONE_MATCH, tag)).await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    }
    let page = bea.get(&format!("/chat/{chat}")).await.text;
    assert!(
        page.contains(&format!("src=\"{path}/small\" width=\"480\" height=\"240\" alt=\"A cat\"")),
        "{page}"
    );

    let nobody = Person { cookie: String::new(), ..ana.clone() };
    assert_eq!(look(&nobody, &path).await, StatusCode::NOT_FOUND);
    let other = ana.start_chat("Ana", "Coffee").await;
    for wrong in [
        address(other, seq, picture),
        address(chat, Seq(seq.0 + 1), picture),
        format!("/picture/{chat}/{seq}/0000000000000000"),
        format!("/picture/{chat}/{seq}/nothing"),
    ] {
        assert_eq!(look(&ana, &wrong).await, StatusCode::NOT_FOUND, "{wrong}");
    }

    assert_eq!(files(server.folder()), 2);
    at_ana.do_it(ClientCommand::RemoveMessage { chat, message: seq }).await.unwrap();
    assert_eq!(look(&bea, &path).await, StatusCode::NOT_FOUND);
    clock.pass(31_000);
    until_there_are(0, server.folder()).await;
}

#[tokio::test]
async fn a_ticket_is_for_one_message_of_its_user_in_its_chat_and_for_a_while() {
    let clock = FakeClock::default();
    let server = TestServer::start_at(&clock, |_| {}).await;
    let (ana, bea) = (server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let other = ana.start_chat("Ana", "Coffee").await;
    let (mut at_ana, mut at_bea) = (ana.watch(chat).await, bea.watch(chat).await);
    let ticket = upload(&ana, chat).await;
    assert_eq!(post(&mut at_bea, chat, 1, "with it", &[&ticket]).await, Err(Problem::PictureExpired));
    for (chat, ticket) in [(other, &*ticket), (chat, "nonsense"), (chat, &ticket[1..])] {
        let refused = post(&mut at_ana, chat, 1, "with it", &[ticket]).await;
        assert_eq!(refused, Err(Problem::PictureExpired), "{ticket}");
    }
    assert_eq!(post(&mut at_ana, chat, 1, "", &[&ticket, &ticket]).await, Err(Problem::PictureUsed));
    assert_eq!(post(&mut at_ana, chat, 1, "", &[&*ticket; 9]).await, Err(Problem::TooManyPictures));
    let seq = post(&mut at_ana, chat, 1, "", &[&ticket]).await.unwrap();
    assert_eq!(post(&mut at_ana, chat, 1, "", &[&ticket]).await, Ok(seq), "sent again");
    assert_eq!(post(&mut at_ana, chat, 2, "", &[&ticket]).await, Err(Problem::PictureUsed));

    let late = upload(&ana, chat).await;
    clock.pass(15 * 60 * 1_000);
    assert_eq!(post(&mut at_ana, chat, 3, "", &[&late]).await, Err(Problem::PictureExpired));
    assert_eq!(files(server.folder()), 4);
    clock.pass(15 * 60 * 1_000 + 1_000);
    until_there_are(2, server.folder()).await;
}

#[tokio::test]
async fn whoever_may_not_post_uploads_nothing() {
    let server = TestServer::start().await;
    let (ana, bea, eve) = (server.person().await, server.person().await, server.person().await);
    let chat = ana.start_chat("Ana", "Tea").await;
    let nobody = Person { cookie: String::new(), ..ana.clone() };
    assert_eq!(problem_of(&send(&nobody, chat, jpeg()).await), Problem::NoSession);
    let nowhere = ChatId::from_bytes([7; 10]);
    assert_eq!(problem_of(&send(&ana, nowhere, jpeg()).await), Problem::UnknownChat);
    let path = format!("/api/picture?chat={chat}");
    let forged = ana.http.post(ana.url(&path)).header(ORIGIN, "https://evil.example").body(jpeg());
    assert_eq!(ana.request(forged).await.status, StatusCode::FORBIDDEN);
    let as_another = format!("{path}&by=0000000000000000");
    let refused = ana.request(ana.http.post(ana.url(&as_another)).body(jpeg())).await;
    assert_eq!(problem_of(&refused), Problem::WrittenAsAnother);

    let mut at_ana = ana.watch(chat).await;
    at_ana.do_it(ClientCommand::SetLock { chat, is_locked: true }).await.unwrap();
    assert_eq!(problem_of(&send(&bea, chat, jpeg()).await), Problem::ChatLocked);
    upload(&ana, chat).await;

    let _online = bea.connect().await;
    let (_, of_two) = ana.chat_privately(_online.me.id).await;
    assert_eq!(problem_of(&send(&eve, of_two.unwrap(), jpeg()).await), Problem::NotAdmitted);
    assert_eq!(files(server.folder()), 2);
}

#[tokio::test]
async fn what_is_no_picture_is_refused_in_words_and_leaves_nothing() {
    let server = TestServer::start_by(|settings| {
        settings.pictures.uploads.max_bytes = 1 << 20;
    })
    .await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let cut = jpeg()[..2_000].to_vec();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec();
    for (name, file, status, expected) in [
        ("nothing", vec![], 422, Problem::NotAPicture),
        ("a text", b"hello".to_vec(), 422, Problem::NotAPicture),
        ("SVG", svg, 422, Problem::NotAPicture),
        ("a cut one", cut, 422, Problem::PictureDamaged),
        ("a large one", vec![0xff; (1 << 20) + 1], 413, Problem::PictureTooLarge { mebibytes: 0 }),
        ("a wide one", file(20_000, 2, ImageFormat::Png), 413, Problem::PictureTooManyPixels),
    ] {
        let answer = send(&ana, chat, file).await;
        assert_eq!((answer.status.as_u16(), problem_of(&answer)), (status, expected), "{name}");
    }
    let answer = send(&ana, chat, vec![0; 2 << 20]).await;
    assert!(answer.text.contains("It can have up to 1 MB."), "{}", answer.text);
    assert_eq!(files(server.folder()), 0);
    assert!(ana.get("/metrics").await.text.contains("qchat_pictures_stored 0"));
}

#[tokio::test]
async fn an_upload_that_stops_half_way_leaves_nothing_and_delays_nobody() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let begin = |length: usize| {
        format!(
            "POST /api/picture?chat={chat} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nContent-Length: {length}\r\n\r\n",
            server.address(),
            ana.cookie,
        )
    };
    let mut stopped = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(begin(100_000).as_bytes()).await.unwrap();
        stream.write_all(&jpeg()[..1_000]).await.unwrap();
        stopped.push(stream);
    }
    upload(&ana, chat).await;
    drop(stopped);
    // A body that is shorter than its length: the other half is closed.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(begin(jpeg().len() + 1).as_bytes()).await.unwrap();
    stream.write_all(&jpeg()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = soon(stream.read_to_string(&mut answer)).await;
    assert!(!answer.contains("ticket"), "{answer}");
    until_there_are(2, server.folder()).await;
}

#[tokio::test]
async fn limits_are_kept_and_named() {
    let server = TestServer::start_by(|settings| {
        settings.rates.picture = "2/h".parse().unwrap();
        settings.pictures.max_storage = 1;
    })
    .await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let full = send(&ana, chat, jpeg()).await;
    assert_eq!((full.status.as_u16(), problem_of(&full)), (507, Problem::StorageFull));
    send(&ana, chat, jpeg()).await;
    let fast = send(&ana, chat, jpeg()).await;
    assert_eq!(fast.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(fast.headers.contains_key("retry-after"));
    assert_eq!(files(server.folder()), 0);

    let few = TestServer::start_by(|settings| settings.pictures.max_in_message = 1).await;
    let ana = few.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut at_ana = ana.watch(chat).await;
    let tickets = [upload(&ana, chat).await, upload(&ana, chat).await];
    let both = tickets.each_ref().map(String::as_str);
    assert_eq!(post(&mut at_ana, chat, 1, "", &both).await, Err(Problem::TooManyPictures));
    post(&mut at_ana, chat, 2, "", &both[..1]).await.unwrap();
    let fields = [("chat", &*chat.to_string()), ("client_id", "0000000000000009"), ("body", "two")];
    let refused = submit(&ana, form(&fields, &[("a.jpg", jpeg()), ("b.jpg", jpeg())])).await;
    assert!(refused.text.contains("These are more pictures than"), "{}", refused.text);

    let off = TestServer::start_by(|settings| settings.pictures.are_on = false).await;
    let ana = off.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    assert_eq!(problem_of(&send(&ana, chat, jpeg()).await), Problem::PicturesOff);
    assert!(!ana.get(&format!("/chat/{chat}")).await.text.contains("Attach pictures"));
}

/// Returns the body of a form with files.
fn form(fields: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), value.as_bytes(), b"\r\n"].concat());
    }
    for (name, file) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"pictures\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend([head.as_bytes(), file, b"\r\n"].concat());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    body
}

async fn submit(person: &Person, body: Vec<u8>) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let request = person.http.post(person.url("/api/post_message"));
    person.request(request.header(CONTENT_TYPE, kind).header(ACCEPT, "text/html").body(body)).await
}

#[tokio::test]
async fn pictures_are_posted_by_an_ordinary_form() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let fields = |id: &'static str, body: &'static str| {
        [("chat", chat.clone()), ("client_id", id.to_owned()), ("body", body.to_owned())]
    };
    let send = async |id, body, files: &[(&str, Vec<u8>)]| {
        let fields = fields(id, body);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        submit(&ana, form(&fields, files)).await
    };
    let png = file(40, 20, ImageFormat::Png);
    let posted = send("0000000000000001", "Look: <b>", &[("one.jpg", jpeg()), ("two.png", png)]).await;
    assert_eq!(posted.status, StatusCode::SEE_OTHER, "{}", posted.text);
    assert_eq!(posted.headers[LOCATION].to_str().unwrap(), format!("/chat/{chat}"));
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(page.contains("Look: &lt;b&gt;"), "{page}");
    assert_eq!(page.matches("alt=\"Picture from Ana\"").count(), 2, "{page}");
    assert!(page.contains("enctype=\"multipart/form-data\""), "{page}");

    // Without a text, and without a file: browsers send one that has no name then.
    assert_eq!(send("0000000000000002", "", &[("one.jpg", jpeg())]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(send("0000000000000003", "a text", &[("", vec![])]).await.status, StatusCode::SEE_OTHER);
    let empty = send("0000000000000004", "", &[("", vec![])]).await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);

    // One that is refused refuses all, and the text comes back.
    let refused =
        send("0000000000000005", "Not lost & kept", &[("a.jpg", jpeg()), ("b.jpg", vec![9; 40])]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    for part in ["That is no picture that Qchat knows.", "Not lost &amp; kept", "Choose the pictures again"] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    let described =
        [("chat", &*chat), ("client_id", "0000000000000007"), ("body", ""), ("alt", "Two <cats>")];
    let posted = submit(&ana, form(&described, &[("one.jpg", jpeg()), ("two.jpg", jpeg())])).await;
    assert_eq!(posted.status, StatusCode::SEE_OTHER, "{}", posted.text);
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert_eq!(page.matches("alt=\"Two &lt;cats&gt;\"").count(), 2, "{page}");
    let long = "y".repeat(1_001);
    let refused = [("chat", &*chat), ("client_id", "0000000000000008"), ("body", ""), ("alt", &*long)];
    let refused = submit(&ana, form(&refused, &[("one.jpg", jpeg())])).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    for part in ["The description is too long.", "Description of the pictures", &*long] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }

    let many: Vec<_> = (0..9).map(|_| ("a.png", file(4, 4, ImageFormat::Png))).collect();
    let refused = send("0000000000000006", "many", &many).await;
    assert!(
        refused.text.contains("These are more pictures than a message can have here."),
        "{}",
        refused.text
    );
    let damaged = submit(&ana, b"no form at all".to_vec()).await;
    assert_eq!(damaged.status, StatusCode::BAD_REQUEST);
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert!(!page.contains("Not lost") && !page.contains("many"), "{page}");
}

#[tokio::test]
async fn a_form_whose_text_is_refused_asks_for_its_pictures_again() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let send = async |id, body: &str, files: &[(&str, Vec<u8>)]| {
        submit(&ana, form(&[("chat", &*chat), ("client_id", id), ("body", body)], files)).await
    };
    let one = [("one.jpg", jpeg())];
    for (id, body) in
        [("0000000000000001", &*"x".repeat(4_001)), ("0000000000000002", "/unknown"), ("no id", "")]
    {
        let refused = send(id, body, &one).await;
        assert!(refused.status.is_client_error(), "{}", refused.status);
        assert!(refused.text.contains("Choose the pictures again"), "{}", refused.text);
        assert!(refused.text.contains("enctype=\"multipart/form-data\""), "{}", refused.text);
        assert!(!refused.text.contains("required"), "{}", refused.text);
    }
    let without = send("0000000000000003", &"x".repeat(4_001), &[("", vec![])]).await;
    assert!(!without.text.contains("Choose the pictures again"), "{}", without.text);

    // A new name, and the pictures under it.
    let named = send("0000000000000004", "/nick Zed", &one).await;
    assert_eq!(named.status, StatusCode::SEE_OTHER, "{}", named.text);
    let page = ana.get(&format!("/chat/{chat}")).await.text;
    assert_eq!(page.matches("alt=\"Picture from Zed\"").count(), 1, "{page}");
    let named = send("0000000000000005", "/nick Zoe", &[("", vec![])]).await;
    assert_eq!(named.status, StatusCode::SEE_OTHER, "{}", named.text);
}

#[tokio::test]
async fn a_picture_outlives_a_restart_and_not_its_message() {
    let clock = FakeClock::default();
    let server = TestServer::start_at(&clock, |_| {}).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let ticket = upload(&ana, chat).await;
    let mut at_ana = ana.watch(chat).await;
    post(&mut at_ana, chat, 1, "kept", &[&ticket]).await.unwrap();
    let (seq, posted) = pictures(&mut at_ana).await;
    let path = address(chat, seq, &posted[0]);
    drop(at_ana);
    // What a power cut leaves of an upload.
    let folder = server.folder().join(PICTURES);
    fs::write(folder.join("1.0000000000000000.small"), "half").unwrap();
    fs::write(folder.join("2.0000000000000000.large.part"), "less").unwrap();
    let server = server.restart_at(&clock).await;
    let ana = Person { address: server.address(), ..ana };
    assert_eq!(files(server.folder()), 2);
    assert_eq!(look(&ana, &path).await, StatusCode::OK);

    let _stays = ana.watch(chat).await;
    clock.pass(24 * 60 * 60 * 1_000 + 1_000);
    assert_eq!(look(&ana, &path).await, StatusCode::NOT_FOUND, "its message has expired");
    until_there_are(0, server.folder()).await;
}

#[tokio::test]
async fn a_backup_that_is_not_restored_leaves_no_pictures() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut at_ana = ana.watch(chat).await;
    let ticket = upload(&ana, chat).await;
    post(&mut at_ana, chat, 1, "kept", &[&ticket]).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let (folder, to) = (server.folder().to_owned(), file.clone());
    spawn_blocking(move || backup(&folder, &to).unwrap()).await.unwrap();

    // Into the folder of a server that runs.
    let other = TestServer::start().await;
    let refused = restore(other.folder(), &file, true).unwrap_err().to_string();
    assert!(refused.contains("another Qchat"), "{refused}");
    assert_eq!(files(other.folder()), 0);

    // Cut behind its pictures.
    let whole = fs::read(&file).unwrap();
    let cut = elsewhere.path().join("cut");
    fs::write(&cut, &whole[..whole.len() - 8]).unwrap();
    let nowhere = elsewhere.path().join("nowhere");
    restore(&nowhere, &cut, false).unwrap_err();
    assert!(!nowhere.join(PICTURES).exists());

    // One that cannot be written, since a folder is in its place.
    let names = fs::read_dir(server.folder().join(PICTURES)).unwrap();
    let small = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let small = small.into_iter().find(|name| name.ends_with("small")).unwrap();
    fs::create_dir_all(nowhere.join(PICTURES).join(small).join("full")).unwrap();
    restore(&nowhere, &file, false).unwrap_err();
    assert_eq!(files(&nowhere), 1);
}

#[tokio::test]
async fn a_backup_has_the_pictures() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let make = async |name: &str, folder: &Path| {
        let (folder, file) = (folder.to_owned(), elsewhere.path().join(name));
        let made = spawn_blocking(move || backup(&folder, &file).unwrap()).await.unwrap();
        (made, elsewhere.path().join(name))
    };
    let restored = |file: &Path, name: &str| {
        let folder = elsewhere.path().join(name);
        restore(&folder, file, false).unwrap();
        folder
    };
    let (said, without) = make("without", server.folder()).await;
    assert!(!said.contains("pictures"), "{said}");
    assert!(!restored(&without, "plain").join(PICTURES).exists());

    let mut at_ana = ana.watch(chat).await;
    let ticket = upload(&ana, chat).await;
    post(&mut at_ana, chat, 1, "kept", &[&ticket]).await.unwrap();
    // One that was not posted belongs to nobody yet.
    upload(&ana, chat).await;
    let (said, running) = make("running", server.folder()).await;
    assert!(said.contains("files of pictures: 2"), "{said}");
    drop(at_ana);
    let data_dir = server.stop().await;
    let (said, stopped) = make("stopped", data_dir.path()).await;
    assert!(said.contains("files of pictures: 2"), "{said}");
    let checked = || check(data_dir.path(), None).unwrap();
    assert!(!checked().contains("missing"), "{}", checked());
    for (file, name) in [(running, "one"), (stopped, "other")] {
        let folder = restored(&file, name);
        assert_eq!(files(&folder), 2);
        for entry in fs::read_dir(folder.join(PICTURES)).unwrap() {
            let entry = entry.unwrap();
            let before = fs::read(data_dir.path().join(PICTURES).join(entry.file_name())).unwrap();
            assert_eq!(fs::read(entry.path()).unwrap(), before);
        }
    }
    fs::remove_dir_all(data_dir.path().join(PICTURES)).unwrap();
    assert!(checked().contains(", pictures whose files are missing: 1)"), "{}", checked());
}

/// Returns the head of a form with files, whose parts come in chunks without end.
fn endless_form(host: SocketAddr, cookie: &str) -> String {
    format!(
        "POST /api/post_message HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nAccept: text/html\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
}

fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat()
}

#[tokio::test]
async fn looks_at_pictures_are_limited_also_where_the_browser_has_them() {
    // Four looks for each page.
    let server = TestServer::start_by(|settings| settings.rates.page = "10/h".parse().unwrap()).await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let nothing = format!("/picture/{chat}/1/0000000000000000");
    let mut seen = Vec::new();
    for _ in 0..50 {
        let request = ana.http.get(ana.url(&nothing)).header(IF_NONE_MATCH, "\"0000000000000000\"");
        seen.push(ana.request(request).await.status);
    }
    assert_eq!(seen.first(), Some(&StatusCode::NOT_FOUND));
    assert_eq!(seen.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test]
async fn a_form_without_end_is_ended_and_takes_no_memory() {
    const MEBIBYTES: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1_024
    };
    let ana = Person::arrive(server.address).await;
    let field = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n\r\n");
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"a\"\r\nA: ");
    let text = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"body\"\r\n\r\n");
    let letters = || vec![b'a'; 65_536];
    for (name, start, unit) in [
        ("no boundary", String::new(), letters()),
        ("a head without end", head, letters()),
        ("fields without a name", String::new(), field.repeat(1_000).into_bytes()),
        ("a text without end", text, letters()),
    ] {
        for cookie in [&*ana.cookie, ""] {
            let before = peak();
            let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
            let answer = tokio::spawn(async move {
                let mut answer = Vec::new();
                let _ = reader.read_to_end(&mut answer).await;
                String::from_utf8_lossy(&answer).into_owned()
            });
            writer.write_all(endless_form(server.address, cookie).as_bytes()).await.unwrap();
            if !start.is_empty() {
                writer.write_all(&chunk(start.as_bytes())).await.unwrap();
            }
            let unit = chunk(&unit);
            let mut sent = 0;
            while sent < MEBIBYTES << 20 && writer.write_all(&unit).await.is_ok() {
                sent += unit.len();
            }
            let grown = peak().saturating_sub(before);
            assert!(grown < 24, "{name}: {grown} MiB for {} MiB", sent >> 20);
            if cookie.is_empty() {
                assert!(sent < MEBIBYTES << 20, "{name}: without a session it goes on");
            }
            drop(writer);
            answer.abort();
        }
    }
    let chat = ana.start_chat("Ana", "Tea").await;
    upload(&ana, chat).await;
}

#[tokio::test]
async fn a_form_that_comes_slowly_is_taken_and_one_that_stops_comes_back() {
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await.to_string();
    let fields = [("chat", &*chat), ("client_id", "0000000000000001"), ("body", "Not lost & kept")];
    // What follows a picture in its file is no part of it.
    let whole = form(&fields, &[("one.jpg", [jpeg(), vec![0; 3 << 20]].concat())]);
    let begin = || async {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(endless_form(server.address(), &ana.cookie).as_bytes()).await.unwrap();
        stream
    };
    let mut slow = begin().await;
    let pieces: Vec<_> = whole.rchunks(whole.len() / 20).collect();
    let (last, pieces) = pieces.split_first().unwrap();
    time::pause();
    for piece in pieces.iter().rev() {
        slow.write_all(&chunk(piece)).await.unwrap();
        sleep(Duration::from_secs(8)).await;
    }
    // A picture is decoded by the clock of the machine.
    time::resume();
    slow.write_all(&chunk(last)).await.unwrap();
    slow.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = soon(slow.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");

    let mut stopped = begin().await;
    stopped.write_all(&chunk(&whole[..2_000])).await.unwrap();
    time::pause();
    let began = time::Instant::now();
    let mut answer = Vec::new();
    let ended = time::timeout(Duration::from_secs(300), stopped.read_to_end(&mut answer)).await;
    assert!(ended.is_ok_and(|read| read.is_ok()) && began.elapsed() < Duration::from_secs(60));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    for part in ["Not lost &amp; kept", "Choose the pictures again"] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}
