//! A client that was written from docs/protocol.md alone: docs/examples/bot.py.

use std::{
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use reqwest::StatusCode;
use tokio::process::Command;

use crate::support::{TestServer, client::soon};

#[tokio::test]
async fn a_bot_does_what_the_protocol_says() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/bot.py");
    let server = TestServer::start().await;
    let ana = server.person().await;
    let chat = ana.start_chat("Ana", "Tea").await;
    let address = format!("http://{}", server.address());
    let mut python = Command::new("python3");
    python.arg(program).args([&address, &chat.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    let done = match soon(python.output()).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _ = writeln!(io::stderr(), "SKIPPED a test: there is no python3");
            return;
        }
        done => done.unwrap(),
    };
    let (said, failed) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{failed}");
    for part in
        ["The chat is Tea", "Quoted: Hello all", "The picture: 200", "Restored: 1 picture of A gradient"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let page = ana.get(&format!("/chat/{chat}")).await;
    assert_eq!(page.status, StatusCode::OK);
    for part in ["Hello again", "An answer", "alt=\"A gradient\""] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
}
