//! How long a server takes to start.

use std::{
    error::Error,
    fs,
    os::unix::fs::MetadataExt,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;
use server::start::DATABASE;
use tokio::time::timeout;

use crate::{
    Form, history, machine,
    posts::Poster,
    report::{Figure, Goal, Report},
    target::{self, Target},
};

/// The size of the blocks in which the file system counts the space of a file (stat(2)), in bytes.
const BLOCK_BYTES: u64 = 512;

/// The starts that are measured: how the server ended before, and where its database is.
const STARTS: [(Before, Is); 5] = [
    (Before::Stop, Is::InMemory),
    (Before::Kill, Is::InMemory),
    (Before::Unknown, Is::InMemory),
    (Before::Stop, Is::OnDisk),
    (Before::Unknown, Is::OnDisk),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Stop,
    /// Killed during a flood of posts, with the WAL as it is then.
    Kill,
    /// Killed, and the mark that vouches for the database is removed, as after a power cut, or in a copy.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    /// In the page cache, as the server left it.
    InMemory,
    /// On disk only, as after a start of the machine.
    OnDisk,
}

impl Before {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "after a clean shutdown",
            Self::Kill => "after a kill",
            Self::Unknown => "with a check of all pages",
        }
    }
}

impl Is {
    fn name(self) -> &'static str {
        match self {
            Self::InMemory => "",
            Self::OnDisk => ", not in the page cache",
        }
    }
}

/// Measures starts after a graceful shutdown, after a kill, and with a check of the whole database, in the page cache
/// and not.
pub(crate) async fn measure(form: &Form, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join(DATABASE);
    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    history::write(folder.path(), 100, form.history / 100, 0, now)?;
    let size = format!("{:.2} GB", fs::metadata(&database)?.len() as f64 / 1e9);
    let mut figures = STARTS.map(|_| Vec::new());
    // The first start is not measured: the benchmark wrote the database, so the server was neither stopped nor killed.
    let mut running = target::launch(Target::Qchat, &mut target::qchat(folder.path()))?;
    for _ in 0..form.rounds {
        for ((before, is), figures) in STARTS.iter().zip(&mut figures) {
            if *before == Before::Stop {
                Command::new("kill").args(["-TERM", &running.watched.0.to_string()]).status()?;
                running.wait()?;
            } else {
                let mut poster = Poster::arrive(&running).await?;
                // Longer than the server lives.
                let flood = poster.flood(&running, form.flat_out);
                if let Ok(ended) = timeout(form.flat_out / 3, flood).await {
                    ended?;
                }
                drop(running);
            }
            if *before == Before::Unknown {
                fs::remove_file(database.with_extension("mark"))?;
            }
            if *is == Is::OnDisk {
                machine::put_out_of_memory(&database)?;
            }
            let on_disk = fs::metadata(&database)?.blocks() * BLOCK_BYTES;
            let began = Instant::now();
            running = target::launch(Target::Qchat, &mut target::qchat(folder.path()))?;
            let took = began.elapsed().as_secs_f64();
            let came_from_disk = || running.watched.fetched().is_ok_and(|bytes| bytes > on_disk / 10 * 9);
            if *is == Is::InMemory || came_from_disk() {
                figures.push(took);
            }
        }
    }
    for ((before, is), figures) in STARTS.iter().zip(&figures) {
        let label = format!("time until ready {}, database of {size}{}", before.name(), is.name());
        if figures.len() < form.rounds {
            report.note(format!("Not measured, since the file was not read from a disk: {label}."));
            continue;
        }
        report.add(Figure::of(label, "s", figures).with_goal(Goal::AtMost(1.0)));
    }
    Ok(())
}
