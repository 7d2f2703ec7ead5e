//! How fast Qchat is, beside the limit of the machine and its peers, in one run: `make bench`.
//!
//! The load comes from this process, and every target is a process of its own. Every delivery is counted and checked for
//! order; a load that cannot be reached ends the run with a sentence instead of a figure. Run by `cargo test`, it does a
//! little of everything, to see that it runs, and judges nothing.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark tells people what it found")]

mod bare;
mod fanout;
mod growth;
mod history;
mod idle;
mod load;
mod machine;
mod pages;
mod plot;
mod posts;
mod report;
mod room;
mod start;
mod target;
mod wire;

use std::{
    env,
    error::Error,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use domain::frame::BEAT_SECONDS;
use report::Report;
use tokio::{runtime, task::LocalSet};

/// What is measured, each by itself where that is asked for.
const PARTS: [&str; 7] = ["fanout", "growth", "load", "posts", "idle", "pages", "start"];

/// How much is done.
#[derive(Debug, Clone)]
struct Form {
    /// What it is called, unless it is all of it.
    name: Option<&'static str>,
    /// Each target has as many turns.
    rounds: usize,
    /// Members of the room that is compared.
    members: usize,
    /// Messages of a run one after the other.
    messages: usize,
    /// A run in which everybody does as much as they can.
    flat_out: Duration,
    /// Rooms whose costs are compared, and as many chats.
    sizes: Vec<usize>,
    /// Messages a second in the room.
    loads: Vec<f64>,
    /// Idle connections.
    connections: Vec<usize>,
    /// How long idle connections are watched: longer than from one heartbeat to the next, and shorter than it takes until
    /// those who never answer are let go.
    rest: Option<Duration>,
    /// Messages of the database that a server starts with.
    history: u64,
    /// Public chats on the home page.
    chats: u64,
    /// Messages of a long chat.
    long: u64,
    /// Whether the peers are there to be compared with.
    peers: bool,
}

impl Form {
    /// All of it.
    fn long() -> Self {
        Self {
            name: None,
            rounds: 5,
            members: 1_000,
            messages: 300,
            flat_out: Duration::from_secs(3),
            sizes: vec![10, 100, 1_000, 10_000],
            loads: vec![5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 120.0, 160.0, 240.0, 480.0, 960.0],
            connections: vec![1_000, 4_000, 10_000],
            rest: Some(Duration::from_secs(BEAT_SECONDS + 5)),
            // a database of more than 1 GB
            history: 1_060_000,
            chats: 5_000,
            long: 100_000,
            peers: true,
        }
    }

    /// What fits into five minutes.
    fn short() -> Self {
        Self {
            name: Some("short"),
            rounds: 2,
            messages: 100,
            flat_out: Duration::from_secs(1),
            sizes: vec![10, 1_000],
            loads: vec![10.0, 40.0, 80.0, 160.0, 480.0],
            connections: vec![1_000, 4_000],
            history: 100_000,
            long: 20_000,
            ..Self::long()
        }
    }

    /// Whether it runs at all.
    fn smoke() -> Self {
        Self {
            name: Some("test"),
            rounds: 1,
            members: 20,
            messages: 5,
            flat_out: Duration::from_millis(200),
            sizes: vec![10],
            loads: vec![20.0],
            connections: vec![20],
            rest: None,
            history: 1_000,
            chats: 20,
            long: 200,
            peers: false,
        }
    }
}

fn main() -> ExitCode {
    let asked = match asked(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let Asked { form, wanted } = &asked;
    let done: Result<(), Box<dyn Error>> = match env::var(bare::ROLE).as_deref() {
        Ok(bare::LOOP) => bare::run().map_err(Into::into),
        Ok(bare::ANSWERS) => runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(bare::answer()))
            .map_err(Into::into),
        Ok(_) => runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(pages::serve_bytes()))
            .map_err(Into::into),
        Err(_) => {
            runtime::Builder::new_current_thread().enable_all().build().map_err(Into::into).and_then(
                |runtime| LocalSet::new().block_on(&runtime, measure(form, *wanted, &asked.folder())),
            )
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for.
struct Asked {
    form: Form,
    /// A part, or everything.
    wanted: Option<&'static str>,
}

impl Asked {
    /// Where the report goes: those of a test, of the short form and of a part leave that of everything as it is.
    fn folder(&self) -> PathBuf {
        let mut folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
        folder.extend(self.form.name);
        folder.extend(self.wanted);
        folder
    }
}

/// Reads the arguments. cargo adds `--bench`; without it this is a test, which takes what else there is for the names of
/// tests.
fn asked(arguments: &[String]) -> Result<Asked, String> {
    if !arguments.iter().any(|argument| argument == "--bench") {
        report::check();
        return Ok(Asked { form: Form::smoke(), wanted: None });
    }
    let (mut form, mut wanted) = (Form::long(), None);
    for argument in arguments.iter().map(String::as_str) {
        match (argument, PARTS.into_iter().find(|part| *part == argument)) {
            ("--bench", _) => {}
            ("--short", _) => form = Form::short(),
            (_, Some(part)) if wanted.is_none() => wanted = Some(part),
            (_, Some(_)) => return Err("one part at a time, or all of them".to_owned()),
            (_, None) => {
                let parts = PARTS.join(", ");
                return Err(format!("{argument:?} is neither --short nor a part; parts are {parts}"));
            }
        }
    }
    Ok(Asked { form, wanted })
}

async fn measure(form: &Form, wanted: Option<&str>, folder: &Path) -> Result<(), Box<dyn Error>> {
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    let most = form.sizes.iter().chain(&form.connections).max().copied().unwrap_or_default();
    if files < most as u64 + 200 {
        return Err(
            format!("{most} sockets need more than the {files} files this process may have open").into()
        );
    }
    let mut report = Report::new(machine::description(), form.peers);
    report.version(format!("Qchat {}", env!("CARGO_PKG_VERSION")));
    if form.peers {
        for peer in ["ws", "socket.io"] {
            report.version(format!("{peer} {}", version(peer)?));
        }
        let node = Command::new("node").arg("--version").output()?.stdout;
        report.version(format!("Node.js {}", String::from_utf8_lossy(&node).trim()));
    }
    for part in PARTS.into_iter().filter(|part| wanted.is_none_or(|wanted| wanted == *part)) {
        match part {
            "fanout" => fanout::measure(form, &mut report).await?,
            "growth" => growth::measure(form, &mut report).await?,
            "load" => load::measure(form, &mut report).await?,
            "posts" => posts::measure(form, &mut report).await?,
            "idle" => idle::measure(form, &mut report).await?,
            "pages" => pages::measure(form, &mut report).await?,
            "start" => start::measure(form, &mut report).await?,
            other => return Err(format!("nothing measures the part {other}").into()),
        }
    }
    report.write(folder)?;
    Ok(())
}

/// The version of a peer that is installed.
fn version(peer: &str) -> io::Result<String> {
    let manifest = target::peers().join("node_modules").join(peer).join("package.json");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|_| io::Error::other(format!("{peer} is not installed: run scripts/setup.sh bench")))?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix(r#""version": ""#));
    Ok(version.unwrap_or_default().trim_end_matches(['"', ',']).to_owned())
}
