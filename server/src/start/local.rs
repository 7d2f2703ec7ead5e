//! The log of a single process: its database, and where it goes on.

use std::{io, sync::Arc};

use domain::{Proposal, Seq};
use engine::{
    clock::{self, SteadyClock},
    command_log::local::{self, LocalLog},
    expiry::Duty,
    storage::{Store, StoreError},
};

use super::{DATABASE, LogParts, StartError};
use crate::Settings;

/// Opens the database of a single process, and the log that continues where it ends.
///
/// # Errors
/// [`StartError::DataDir`] or [`StartError::Database`] if the database cannot be opened or read.
pub fn open(settings: &Settings, clock: SteadyClock) -> Result<LogParts<LocalLog>, StartError> {
    let store = Arc::new(open_store(settings)?);
    let steady = Arc::new(clock);
    let clock = steady.clock();
    let view = store.read(clock()).map_err(|error| StartError::unreadable(settings, error))?;
    let ends = view.log().map_err(|error| StartError::unreadable(settings, error))?;
    drop(view);
    // how far the clock is behind the newest entry of the log, if it was set back
    let set_back = ends.map(|log| clock::difference(clock(), log.at));
    let set_back = set_back.filter(|leap| *leap < 0 && clock::is_leap(*leap));
    if let Some(leap) = set_back {
        tracing::warn!(seconds = leap / 1_000, "the system clock was set back since Qchat last ran");
    }
    let after = ends.map_or(Seq::ZERO, |log| log.seq);
    let (sequencer, log) = local::open(Arc::clone(&clock), store.epoch(), after);
    Ok(LogParts {
        store,
        sequencer: Arc::new(sequencer),
        log,
        clock,
        steady: Some(steady),
        duty: Duty::Alone,
        // times recorded by the other clock would postpone expiry until this one has caught up
        first: set_back.map(Proposal::ClockSet),
        check: None,
        bucket: None,
        metrics: None,
        tasks: None,
    })
}

fn open_store(settings: &Settings) -> Result<Store, StartError> {
    let data_dir = &settings.data_dir;
    let path = data_dir.join(DATABASE);
    Store::open(&path, settings.lifetimes).map_err(|error| match error {
        StoreError::Io(error) | StoreError::Wal(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            StartError::DataDir { path: data_dir.clone(), error }
        }
        error => StartError::Database { path, error },
    })
}
