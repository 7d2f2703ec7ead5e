//! Failed starts: one line says what is wrong, and no data is changed. Also when the whole database is checked at a
//! start.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    time::Duration,
};

use server::start::DATABASE;
use tokio::time::{sleep, timeout};

use crate::support::{
    Person, bodies, client_id,
    process::{Failure, Process},
};

/// Checks that the program printed one line with these words, and ended with exit code 1.
fn assert_says(failure: &Failure, words: &[&str]) {
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    assert_eq!(failure.said.lines().count(), 1, "{}", failure.said);
    for word in words {
        assert!(failure.said.contains(word), "{word:?} is not in {:?}", failure.said);
    }
}

#[test]
fn a_data_folder_that_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "in the way").unwrap();
    assert_says(&Process::fail(&file, "127.0.0.1:0"), &["data folder", "a-file"]);
    assert_says(&Process::fail(&file.join("below"), "127.0.0.1:0"), &["data folder", "below"]);
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    // No user can create files in /proc, not even root, as which tests may run.
    assert_says(&Process::fail("/proc/self".as_ref(), "127.0.0.1:0"), &["/proc/self"]);
}

#[test]
fn a_wrong_value_in_the_environment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, value) in [
        ("QCHAT_CHAT_LIFETIME", "soon"),
        ("QCHAT_USER_LIFETIME", ""),
        ("QCHAT_MESSAGE_LIFETIME", "30"),
        ("QCHAT_SWEEP_INTERVAL", "0s"),
        ("QCHAT_TRUSTED_PROXIES", "all"),
        ("QCHAT_PAGE_RATE", "often"),
        ("QCHAT_CONNECT_RATE", "often"),
        ("QCHAT_CHAT_RATE", "often"),
        ("QCHAT_MESSAGE_RATE", "often"),
        ("QCHAT_RENAME_RATE", "often"),
        ("QCHAT_INVITE_RATE", "often"),
        ("QCHAT_MAX_SOCKETS", "0"),
        ("QCHAT_MAX_SESSION_SOCKETS", "-1"),
        ("QCHAT_MAX_MEMBERS", "many"),
        ("QCHAT_MAX_USER_CHATS", "many"),
        ("QCHAT_MAX_LISTED", "many"),
        ("QCHAT_MAX_STORAGE", "many"),
        ("QCHAT_MAX_SESSION_STORAGE", "5000"),
        ("QCHAT_PICTURES", "perhaps"),
        ("QCHAT_PICTURE_RATE", "often"),
        ("QCHAT_MAX_PICTURE", "101"),
        ("QCHAT_MAX_PICTURE_PIXELS", "many"),
        ("QCHAT_MAX_PICTURES", "9"),
        ("QCHAT_MAX_PICTURE_STORAGE", "many"),
        ("QCHAT_MAX_SESSION_PICTURES", "5000"),
        ("QCHAT_LOG", "wran"),
        ("QCHAT_LOG", ""),
        ("QCHAT_NATS_URL", "http://nats"),
        ("QCHAT_NATS_NAME", "a.b"),
        ("QCHAT_NATS_REPLICAS", "2"),
        ("QCHAT_NATS_MAX_LOG", "0"),
        ("QCHAT_NODE", ""),
        ("QCHAT_SNAPSHOT_INTERVAL", "often"),
    ] {
        let failure = Process::fail_with(folder.path(), "127.0.0.1:0", &[(setting, value)]);
        assert_says(&failure, &[&format!("{setting} is {value:?}, which is not a")]);
    }
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("qchat.redb");
    let text = "a letter to a friend, ".repeat(1_000);
    fs::write(&database, &text).unwrap();
    assert_says(&Process::fail(folder.path(), "127.0.0.1:0"), &["qchat.redb", "not a Qchat database"]);
    assert_eq!(fs::read_to_string(&database).unwrap(), text);
}

#[test]
fn a_data_folder_that_another_qchat_uses() {
    let folder = tempfile::tempdir().unwrap();
    let _running = Process::start(folder.path());
    assert_says(&Process::fail(folder.path(), "127.0.0.1:0"), &["qchat.redb", "another Qchat"]);
}

#[test]
fn an_invalid_session_key() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("session.key"), "short").unwrap();
    assert_says(&Process::fail(folder.path(), "127.0.0.1:0"), &["session.key", "not a key"]);
}

#[test]
fn a_port_that_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_says(&Process::fail(folder.path(), &address), &[&address, "in use"]);
}

#[test]
fn a_setting_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    assert_says(
        &Process::fail(folder.path(), "everywhere"),
        &["--site-addr", "everywhere", "127.0.0.1:3000"],
    );
}

/// Rewrites a file with the same contents, until its change time has moved on.
fn touch(file: &Path) {
    let bytes = fs::read(file).unwrap();
    let changed = || fs::metadata(file).map(|file| (file.ctime(), file.ctime_nsec())).unwrap();
    let before = changed();
    let file = File::options().write(true).open(file).unwrap();
    while changed() == before {
        file.write_all_at(&bytes[..1], 0).unwrap();
    }
}

#[tokio::test]
async fn all_of_a_database_is_checked_unless_it_is_known_to_be_intact() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(DATABASE);
    let (process, has_looked) = Process::start_again(folder.path());
    assert!(!has_looked, "it was made just now");
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    ana.watch(chat).await.post(chat, client_id(1), "kept").await.unwrap();
    process.stop();
    fs::write(database.with_extension("seal"), "0 00000000\n").unwrap();

    let (process, has_looked) = Process::start_again(folder.path());
    assert!(has_looked, "its seal is broken");
    process.stop();

    let (process, has_looked) = Process::start_again(folder.path());
    assert!(!has_looked, "it was closed in order");
    let ana = Person { address: process.address, ..ana };
    ana.watch(chat).await.post(chat, client_id(2), "in the journal").await.unwrap();
    process.kill();

    let (process, has_looked) = Process::start_again(folder.path());
    assert!(!has_looked, "it was killed, and nobody was there since");
    process.kill();
    touch(&database);

    let (process, has_looked) = Process::start_again(folder.path());
    assert!(has_looked, "another process wrote to it");
    process.kill();
    let copied = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        // The socket of the killed server is not a regular file.
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copied.path().join(file.file_name())).unwrap();
        }
    }

    let (process, has_looked) = Process::start_again(copied.path());
    assert!(has_looked, "it is a copy");
    let ana = Person { address: process.address, ..ana };
    let events = ana.connect().await.watch(chat, None).await.unwrap().events;
    assert_eq!(bodies(&events), ["kept", "in the journal"]);
}

#[tokio::test]
async fn messages_are_in_the_database_after_some_seconds_and_no_longer_in_the_write_ahead_log() {
    let folder = tempfile::tempdir().unwrap();
    let wal = folder.path().join(DATABASE).with_extension("journal");
    let bytes = || fs::metadata(&wal).unwrap().len();
    let process = Process::start(folder.path());
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    ana.watch(chat).await.post(chat, client_id(1), "said once").await.unwrap();
    let said = fs::read(&wal).unwrap();
    assert!(said.windows(9).any(|part| part == b"said once"), "the journal is where it is first");
    let emptied = async {
        while bytes() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), emptied)
        .await
        .expect("it is emptied although nobody says anything more");
    // With an empty WAL, a kill leaves what is in the database.
    process.kill();
    let (process, has_looked) = Process::start_again(folder.path());
    assert!(!has_looked, "what is in it is known since the journal was emptied");
    let ana = Person { address: process.address, ..ana };
    assert_eq!(bodies(&ana.connect().await.watch(chat, None).await.unwrap().events), ["said once"]);
}
