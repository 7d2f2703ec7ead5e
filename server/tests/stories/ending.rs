//! A server that cannot store anything any more: users are told, `/readyz` reports it, and it shuts down gracefully.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use domain::{ChatId, EventKind, Problem, frame::ServerFrame};
use tempfile::TempDir;

use crate::support::{Person, client_id, process::Process};

/// Posts messages until one cannot be stored, and checks that the server tells the clients and stops. Returns the
/// number of acknowledged messages.
async fn see_it_stop(process: Process, ana: &Person, chat: ChatId, said: u64) -> u64 {
    let mut here = ana.watch(chat).await;
    let body = "x".repeat(4_000);
    let mut stored = said;
    let problem = loop {
        match here.post(chat, client_id(stored), &body).await {
            Ok(_) => stored += 1,
            Err(problem) => break problem,
        }
    };
    assert_eq!(problem, Problem::NotStored, "after {stored} messages");
    let ready = ana.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("not ready: messages cannot be stored\n"), "{}", ready.text);
    assert_eq!(ana.get("/healthz").await.status, 200);
    let refused = here
        .find(|frame| match frame {
            ServerFrame::Refused { request: None, problem, .. } => Some(*problem),
            _ => None,
        })
        .await;
    assert_eq!(refused, Problem::Restarting, "connected clients are told to reconnect");
    let failure = process.end();
    assert_eq!(failure.code, Some(1), "{}", failure.said);
    assert!(failure.said.contains("nothing can be stored any more"), "{}", failure.said);
    stored
}

/// Starts the server again and checks that the newest of `stored` messages is there.
async fn find_all(data_dir: &Path, ana: &Person, chat: ChatId, stored: u64) {
    let process = Process::start(data_dir);
    let ana = Person { address: process.address, ..ana.clone() };
    let history = ana.connect().await.watch(chat, None).await.unwrap();
    let newest = &history.events.last().unwrap().kind;
    assert!(
        matches!(newest, EventKind::Said(message) if message.client_id == client_id(stored - 1)),
        "{newest:?}"
    );
}

#[tokio::test]
async fn a_server_whose_disk_is_full_says_so_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of files, in blocks of 512 bytes, has the same effect as a full disk.
    let process = Process::start_with_file_limit(folder.path(), 6_000);
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let stored = see_it_stop(process, &ana, chat, 0).await;
    assert!(stored > 10);
    // With room again, everything acknowledged is there.
    find_all(folder.path(), &ana, chat, stored).await;
}

/// A file system in an image file, mounted.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount() -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        run("truncate", &["--size=64M", &disk.path("image")]);
        run("mkfs.ext4", &["-q", &disk.path("image")]);
        fs::create_dir(disk.path("mounted")).unwrap();
        disk.mount_again();
        disk
    }

    fn mount_again(&self) {
        run("mount", &["-o", "loop", &self.path("image"), &self.path("mounted")]);
    }

    /// Makes the file system read-only, as ext4 does by itself if its device fails.
    fn becomes_read_only(&self) {
        run("mount", &["-o", "remount,abort", &self.path("mounted")]);
    }

    fn unmount(&self) {
        run("umount", &[&self.path("mounted")]);
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Unmounts it if the test failed before.
        let _ = Command::new("umount").arg(self.path("mounted")).stderr(Stdio::null()).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Has to be run as root: `cargo test -p server --test stories read_only -- --ignored`.
#[tokio::test]
#[ignore = "it mounts a disk, for which one has to be root on Linux"]
async fn a_server_whose_disk_becomes_read_only_says_so_and_loses_nothing() {
    let disk = Disk::mount();
    let data_dir = disk.path("mounted/data");
    let data_dir = Path::new(&data_dir);
    // The file size limit is too large to be reached.
    let process = Process::start_with_file_limit(data_dir, 1_000_000);
    let ana = Person::arrive(process.address).await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let mut here = ana.watch(chat).await;
    for number in 0..20 {
        here.post(chat, client_id(number), "before").await.unwrap();
    }
    disk.becomes_read_only();
    let stored = see_it_stop(process, &ana, chat, 20).await;
    println!("{} messages were acknowledged after the disk became read-only", stored - 20);
    let failure = Process::fail(data_dir, "127.0.0.1:0");
    assert_eq!(failure.code, Some(1));
    assert!(failure.said.contains("cannot be"), "{}", failure.said);
    println!("{}", failure.said.trim());
    disk.unmount();
    disk.mount_again();
    find_all(data_dir, &ana, chat, stored).await;
}
