//! How long a server takes to be there.

use std::{
    error::Error,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;
use server::start::DATABASE;
use tokio::time::timeout;

use crate::{
    Form, history,
    posts::Poster,
    report::{Figure, Goal, Report},
    target::{self, Target},
};

/// What was done to a server before it starts again.
const BEFORE: [Before; 3] = [Before::Stop, Before::Kill, Before::Unknown];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Stop,
    /// In the midst of a flood, with what the journal held by then.
    Kill,
    /// The same, and what would say that it was no more than that is gone, as it is after a power cut. The file is in memory still.
    Unknown,
}

impl Before {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "after a stop in order",
            Self::Kill => "after a kill",
            Self::Unknown => "with a look at all pages",
        }
    }
}

/// Measures starts after a stop in order, after a kill, and where nobody knows what became of the database.
pub(crate) async fn measure(form: &Form, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join(DATABASE);
    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    history::write(folder.path(), 100, form.history / 100, 0, now)?;
    let size = format!("{:.2} GB", std::fs::metadata(&database)?.len() as f64 / 1e9);
    let mut figures = BEFORE.map(|_| Vec::new());
    // what a benchmark wrote was neither stopped nor killed: the first start is no figure
    let mut running = target::launch(Target::Qchat, &mut target::qchat(folder.path()))?;
    for _ in 0..form.rounds {
        for (before, figures) in BEFORE.iter().zip(&mut figures) {
            if *before == Before::Stop {
                Command::new("kill").args(["-TERM", &running.watched.0.to_string()]).status()?;
                running.wait()?;
            } else {
                let mut poster = Poster::arrive(&running).await?;
                // longer than it lives
                let flood = poster.flood(&running, form.flat_out);
                if let Ok(ended) = timeout(form.flat_out / 3, flood).await {
                    ended?;
                }
                drop(running);
            }
            if *before == Before::Unknown {
                std::fs::remove_file(database.with_extension("mark"))?;
            }
            let began = Instant::now();
            running = target::launch(Target::Qchat, &mut target::qchat(folder.path()))?;
            figures.push(began.elapsed().as_secs_f64());
        }
    }
    for (before, figures) in BEFORE.iter().zip(&figures) {
        let what = format!("start to ready {}, database of {size}", before.name());
        report.add(Figure::of(what, "s", figures).with_goal(Goal::AtMost(1.0)));
    }
    Ok(())
}
