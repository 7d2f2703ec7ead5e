//! Backups: of a running server under load and of a stopped one, restored and checked; and whatever can be wrong with
//! a file, a folder or a disk.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
};

use domain::{ChatId, ClientId, Event, Lifetimes, Seq, Timestamp};
use engine::storage::Store;
use server::start::DATABASE;
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Person, bodies, client::soon, client_id, process::Process};

/// Runs a `qchat` on a data folder, while the runtime of the test goes on.
async fn run(data_dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let (data_dir, args) =
        (data_dir.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
    let run = move || Process::run(&data_dir, &args.iter().map(String::as_str).collect::<Vec<_>>());
    spawn_blocking(run).await.unwrap()
}

/// Checks that a command succeeded, and returns what it said.
fn done((code, said): (Option<i32>, String)) -> String {
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Checks that a command failed with one line that has these words.
fn refused((code, said): (Option<i32>, String), words: &[&str]) {
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns all events of a chat in the database of a data folder that no server uses.
fn events(data_dir: &Path, chat: ChatId) -> Vec<Event> {
    let store = Store::open_read_only(&data_dir.join(DATABASE)).unwrap();
    let view = store.read(Timestamp::default()).unwrap();
    let (mut events, mut after) = (Vec::new(), Seq::ZERO);
    loop {
        let page = view.events_after(chat, after, 1_000).unwrap();
        let Some(last) = page.last() else { return events };
        after = last.seq;
        events.extend(page);
    }
}

/// What was acknowledged, by the chat and the position.
type Acknowledged = BTreeMap<(ChatId, Seq), ClientId>;

/// Posts in a chat until it is enough.
async fn post(
    address: SocketAddr,
    chat: ChatId,
    all: watch::Sender<Acknowledged>,
    enough: CancellationToken,
) {
    let person = Person::arrive(address).await;
    let mut client = person.watch(chat).await;
    for number in 0.. {
        if enough.is_cancelled() {
            return;
        }
        let message = client_id(number);
        let seq = client.post(chat, message, &format!("message {number}")).await.unwrap();
        all.send_modify(|all| {
            all.insert((chat, seq), message);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_server_under_load_is_its_state_at_one_moment_and_is_served_when_restored() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let process = Process::start(folder.path());
    let ana = Person::arrive(process.address).await;
    let mut chats = Vec::new();
    for title in ["One", "Two", "Three"] {
        chats.push(ana.start_chat("Ana", title).await);
    }
    // Some history, so that the messages of the load come while it is read.
    let mut here = ana.watch(chats[0]).await;
    let body = "x".repeat(2_000);
    for first in (0..1_000).step_by(100) {
        let mut asked = Vec::new();
        for number in first..first + 100 {
            asked.push(here.ask(chats[0], client_id(1_000_000 + number), &body).await);
        }
        for request in asked {
            here.answer(request).await.unwrap();
        }
    }
    let (all, mut acknowledged) = watch::channel(Acknowledged::default());
    let enough = CancellationToken::new();
    let mut load = JoinSet::new();
    for place in 0..6 {
        load.spawn(post(process.address, chats[place % 3], all.clone(), enough.clone()));
    }
    let file = other.path().join("backup");
    let mut before = BTreeMap::new();
    for round in 0..5 {
        // Each backup replaces the one before.
        before = soon(acknowledged.wait_for(|all| all.len() >= 20 * (round + 1))).await.unwrap().clone();
        let said = done(run(folder.path(), &["backup", text(&file)]).await);
        assert!(said.contains("chats: 3"), "{said}");
        assert!(acknowledged.borrow().len() > before.len(), "nothing stands still for a backup");
    }
    let said = done(run(folder.path(), &["check"]).await);
    assert!(said.contains("running server"), "{said}");
    enough.cancel();
    load.join_all().await;
    drop(here);
    process.kill();

    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(other.path()), ["backup"]);
    done(run(folder.path(), &["check", text(&file)]).await);
    let restored = other.path().join("restored");
    let said = done(run(&restored, &["restore", text(&file)]).await);
    assert!(said.contains("session.key"), "{said}");
    assert_eq!(fs::metadata(&restored).unwrap().permissions().mode() & 0o777, 0o700);
    let mut newest = Seq::ZERO;
    for chat in &chats {
        let (whole, saved) = (events(folder.path(), *chat), events(&restored, *chat));
        assert!(saved.len() < whole.len(), "messages came after it");
        assert!(whole.starts_with(&saved), "a prefix, without gaps");
        newest = newest.max(saved.last().unwrap().seq);
        for ((_, seq), message) in before.iter().filter(|((of, _), _)| of == chat) {
            let found = saved.iter().find(|event| event.seq == *seq).and_then(|event| event.kind.message());
            assert_eq!(
                found.map(|message| message.client_id),
                Some(*message),
                "acknowledged before, and missing"
            );
        }
    }
    for chat in &chats {
        let first_later =
            events(folder.path(), *chat).into_iter().find(|event| event.seq > newest).map(|event| event.seq);
        let saved = events(&restored, *chat).len();
        let until = events(folder.path(), *chat).iter().take_while(|event| event.seq <= newest).count();
        assert_eq!(saved, until, "all chats are as at one moment: {newest}, {first_later:?}");
    }

    // With the key, users are who they were.
    fs::copy(folder.path().join("session.key"), restored.join("session.key")).unwrap();
    let process = Process::start(&restored);
    let ana = Person { address: process.address, ..ana };
    let mut here = ana.connect().await;
    let history = here.watch(chats[1], None).await.unwrap();
    assert!(bodies(&history.events).iter().all(|body| body.starts_with("message ")));
    assert!(ana.get(&format!("/chat/{}", chats[2])).await.text.contains("Three"));
    here.post(chats[1], client_id(7_000_000), "it goes on").await.unwrap();
    process.stop();
    done(run(&restored, &["check"]).await);
}

/// Starts a server, says something in a chat, and stops the server by a kill. Returns the author and the chat.
async fn after_a_kill(data_dir: &Path, messages: u64) -> (Person, ChatId) {
    let process = Process::start(data_dir);
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    for number in 0..messages {
        here.post(chat, client_id(number), &format!("message {number}")).await.unwrap();
    }
    process.kill();
    (ana, chat)
}

#[tokio::test]
async fn a_backup_without_a_running_server_has_what_is_in_the_journal_and_changes_nothing() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, chat) = after_a_kill(folder.path(), 10).await;
    let read = || {
        let files = ["qchat.redb", "qchat.journal", "qchat.mark"];
        files.map(|name| fs::read(folder.path().join(name)).unwrap())
    };
    let before = read();
    assert!(!before[1].is_empty());
    let file = other.path().join("backup");
    done(run(folder.path(), &["backup", text(&file)]).await);
    done(run(folder.path(), &["check"]).await);
    assert!(read() == before);
    let restored = other.path().join("restored");
    done(run(&restored, &["restore", text(&file)]).await);
    assert_eq!(bodies(&events(&restored, chat)).len(), 10);
}

#[tokio::test]
async fn no_database_is_replaced_unless_that_is_asked_for_and_none_of_a_running_server() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, chat) = after_a_kill(folder.path(), 3).await;
    let file = other.path().join("backup");
    done(run(folder.path(), &["backup", text(&file)]).await);
    refused(run(folder.path(), &["restore", text(&file)]).await, &["already", "--replace"]);
    let process = Process::start(folder.path());
    refused(
        run(folder.path(), &["restore", "--replace", text(&file)]).await,
        &["qchat.redb", "another Qchat"],
    );
    let bea = Person::arrive(process.address).await;
    bea.watch(chat).await.post(chat, client_id(9), "after the backup").await.unwrap();
    process.kill();
    done(run(folder.path(), &["restore", "--replace", text(&file)]).await);
    assert_eq!(bodies(&events(folder.path(), chat)), ["message 0", "message 1", "message 2"]);
    let process = Process::start(folder.path());
    let bea = Person { address: process.address, ..bea };
    let events = bea.connect().await.watch(chat, None).await.unwrap().events;
    assert_eq!(bodies(&events).len(), 3);
}

#[tokio::test]
async fn a_file_that_is_no_backup_or_a_damaged_one_is_refused_in_one_line_and_nothing_is_restored() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, chat) = after_a_kill(folder.path(), 20).await;
    let file = other.path().join("backup");
    done(run(folder.path(), &["backup", text(&file)]).await);
    let whole = fs::read(&file).unwrap();
    let changed = |place: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[place] = to;
        bytes
    };
    let wrong = [
        ("letter", b"a letter to a friend".to_vec(), "not a backup"),
        ("empty", Vec::new(), "not a backup"),
        ("database", fs::read(folder.path().join(DATABASE)).unwrap(), "not a backup"),
        ("cut", whole[..whole.len() / 2].to_vec(), "not complete"),
        ("flipped", changed(whole.len() / 2, !whole[whole.len() / 2]), "damaged"),
        ("newer", changed(4, 2), "a newer Qchat wrote it"),
    ];
    let target = other.path().join("target");
    for (name, bytes, word) in wrong {
        let path = other.path().join(name);
        fs::write(&path, bytes).unwrap();
        refused(run(folder.path(), &["check", text(&path)]).await, &[name, word]);
        refused(run(&target, &["restore", text(&path)]).await, &[name, word]);
        assert_eq!(names(&target), Vec::<String>::new());
        refused(run(folder.path(), &["restore", "--replace", text(&path)]).await, &[name, word]);
    }
    let missing = other.path().join("missing");
    let nowhere = other.path().join("nowhere");
    refused(run(&nowhere, &["restore", text(&missing)]).await, &["missing", "No such file"]);
    refused(run(&nowhere, &["check", text(&missing)]).await, &["missing", "No such file"]);
    refused(run(&nowhere, &["check"]).await, &["no database", "nowhere"]);
    refused(run(&nowhere, &["backup", text(&missing)]).await, &["no database", "nowhere"]);
    assert!(!nowhere.exists() && !missing.exists());
    assert_eq!(bodies(&events(folder.path(), chat)).len(), 20, "the database is as it was");
}

#[tokio::test]
async fn a_backup_takes_the_place_of_a_backup_and_of_no_other_file() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    after_a_kill(folder.path(), 1).await;
    let letter = other.path().join("letter");
    fs::write(&letter, "a letter to a friend").unwrap();
    refused(run(folder.path(), &["backup", text(&letter)]).await, &["letter", "not a backup"]);
    assert_eq!(fs::read_to_string(&letter).unwrap(), "a letter to a friend");
    let database = folder.path().join(DATABASE);
    refused(run(folder.path(), &["backup", text(&database)]).await, &["qchat.redb", "not a backup"]);
    refused(run(folder.path(), &["backup", text(other.path())]).await, &["not a backup"]);
    let below = other.path().join("missing/backup");
    refused(run(folder.path(), &["backup", text(&below)]).await, &["could not be written", "No such file"]);
    let file = other.path().join("backup");
    // As mktemp(1) leaves it.
    fs::write(&file, "").unwrap();
    for _ in 0..2 {
        done(run(folder.path(), &["backup", text(&file)]).await);
    }
    assert_eq!(names(other.path()), ["backup", "letter"]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_the_backup_of_before_and_the_server() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let process = Process::start(folder.path());
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    here.post(chat, client_id(0), "small").await.unwrap();
    let file = other.path().join("backup");
    done(run(folder.path(), &["backup", text(&file)]).await);
    let before = fs::read(&file).unwrap();
    for number in 1..100 {
        here.post(chat, client_id(number), &"x".repeat(4_000)).await.unwrap();
    }
    let full = Process::run_with_file_limit(folder.path(), &["backup", text(&file)], 100);
    refused(full, &["backup", "could not be written", "File too large"]);
    assert!(fs::read(&file).unwrap() == before);
    assert_eq!(names(other.path()), ["backup"]);
    here.post(chat, client_id(100), "it goes on").await.unwrap();
    done(run(folder.path(), &["backup", text(&file)]).await);

    let target = other.path().join("target");
    let full = Process::run_with_file_limit(&target, &["restore", text(&file)], 1_000);
    refused(full, &["qchat.redb", "File too large"]);
    assert_eq!(names(&target), Vec::<String>::new());
    done(run(&target, &["restore", text(&file)]).await);
    assert_eq!(bodies(&events(&target, chat)).len(), 101);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_backup_holds_nobody_else_up() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let process = Process::start(folder.path());
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let gone = ana.start_chat("Ana", "Nuisance").await;
    let mut here = ana.watch(chat).await;
    // More than the buffers of a socket take.
    for number in 0..300 {
        here.post(chat, client_id(number), &"x".repeat(4_000)).await.unwrap();
    }
    let mut slow = UnixStream::connect(folder.path().join("qchat.socket")).unwrap();
    writeln!(slow, "backup").unwrap();
    let mut first = [0; 8];
    slow.read_exact(&mut first).unwrap();
    let file = other.path().join("backup");
    refused(run(folder.path(), &["backup", text(&file)]).await, &["already"]);
    refused(run(folder.path(), &["check"]).await, &["already"]);
    here.post(chat, client_id(1_000), "it goes on").await.unwrap();
    let told = process.end_chat(folder.path(), &gone.to_string());
    assert_eq!(told.0, Some(0), "{}", told.1);
    drop(slow);
    // Until the server has noticed that its client is gone.
    while run(folder.path(), &["backup", text(&file)]).await.0 != Some(0) {}
    done(run(folder.path(), &["check", text(&file)]).await);
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_of_a_backup_leaves_none_and_stops_in_order() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let process = Process::start(folder.path());
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    for number in 0..300 {
        here.post(chat, client_id(number), &"x".repeat(4_000)).await.unwrap();
    }
    drop(here);
    let mut slow = UnixStream::connect(folder.path().join("qchat.socket")).unwrap();
    writeln!(slow, "backup").unwrap();
    slow.read_exact(&mut [0; 8]).unwrap();
    process.stop();
    assert!(folder.path().join("qchat.seal").exists(), "the database was closed");
    let mut rest = Vec::new();
    // It may have been cut off.
    let _ = slow.read_to_end(&mut rest);
    let file = other.path().join("part");
    fs::write(&file, rest.strip_prefix(b"up follows.\n").unwrap_or(&rest)).unwrap();
    let (code, said) = run(folder.path(), &["check", text(&file)]).await;
    assert_eq!(code, Some(1), "{said}");
    done(run(folder.path(), &["check"]).await);
}

#[tokio::test]
async fn damage_is_found_by_a_check_and_in_a_backup() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, chat) = after_a_kill(folder.path(), 5).await;
    // All that the journal had is in the database, which is closed.
    let store = Store::open(&folder.path().join(DATABASE), Lifetimes::default()).unwrap();
    store.close(&folder.path().join(DATABASE)).unwrap();
    done(run(folder.path(), &["check"]).await);
    let database = folder.path().join(DATABASE);
    let mut bytes = fs::read(&database).unwrap();
    let text_of = b"message 3";
    for place in 0..bytes.len() - text_of.len() {
        if bytes[place..].starts_with(text_of) {
            bytes[place] ^= 1;
        }
    }
    fs::write(&database, &bytes).unwrap();
    refused(run(folder.path(), &["check"]).await, &["qchat.redb", "damaged"]);
    refused(run(other.path(), &["check", text(folder.path())]).await, &["qchat.redb", "damaged"]);
    assert!(fs::read(&database).unwrap() == bytes, "a check changes nothing");
    let file = other.path().join("backup");
    let (code, said) = run(folder.path(), &["backup", text(&file)]).await;
    assert_eq!(code, Some(1), "{said} of {chat}");
    assert_eq!(names(other.path()), Vec::<String>::new());
}

#[test]
fn the_commands_are_in_the_help() {
    let folder = tempfile::tempdir().unwrap();
    let help = done(Process::run(folder.path(), &["--help"]));
    for word in ["backup", "restore", "check"] {
        assert!(help.contains(&format!("\n  {word} ")), "{help}");
        let own = done(Process::run(folder.path(), &[word, "--help"]));
        assert!(own.contains("--data-dir") && own.contains("Usage: qchat"), "{own}");
    }
    let (code, said) = Process::run(folder.path(), &["backup"]);
    assert!(code == Some(2) && said.contains("<FILE>"), "{said}");
}
