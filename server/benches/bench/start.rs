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

/// Measures starts after a stop in order and after a kill in the midst of a flood, with what the journal held by then.
pub(crate) async fn measure(form: &Form, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let now = Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    history::write(folder.path(), 100, form.history / 100, 0, now)?;
    let bytes = std::fs::metadata(folder.path().join(DATABASE))?.len();
    let size = format!("{:.2} GB", bytes as f64 / 1e9);
    let (mut after_kill, mut after_stop) = (Vec::new(), Vec::new());
    // what a benchmark wrote was neither stopped nor killed: the first start is no figure
    for round in 0..2 * form.rounds + 1 {
        let began = Instant::now();
        let running = target::launch(Target::Qchat, &mut target::qchat(folder.path()))?;
        let took = began.elapsed().as_secs_f64();
        if round % 2 == 0 {
            if round > 0 {
                after_kill.push(took);
            }
            // the next one finds it closed in order
            Command::new("kill").args(["-TERM", &running.watched.0.to_string()]).status()?;
            running.wait()?;
        } else {
            after_stop.push(took);
            let mut poster = Poster::arrive(&running).await?;
            // longer than it lives
            let flood = poster.flood(&running, form.flat_out);
            if let Ok(ended) = timeout(form.flat_out / 3, flood).await {
                ended?;
            }
            drop(running);
        }
    }
    report.add(
        Figure::of(format!("start to ready after a stop in order, database of {size}"), "s", &after_stop)
            .with_goal(Goal::AtMost(1.0)),
    );
    report.add(
        Figure::of(format!("start to ready after a kill, database of {size}"), "s", &after_kill)
            .with_goal(Goal::AtMost(1.0)),
    );
    Ok(())
}
