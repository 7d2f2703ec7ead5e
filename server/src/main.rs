//! The `qchat` program: reads settings, starts the server, and runs until it is told to stop.

#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use engine::storage::Store;
use server::{
    Settings, backup, control_socket,
    http::assets,
    logging,
    pictures::decoder::child,
    settings::{self, Action, SettingsError},
    start::{self, CannotGoOn, DATABASE, StartError, start},
};
use tokio::signal::unix::{SignalKind, signal};

/// How long users are told that nothing can be stored before the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The number of open files besides the sockets of `--max-sockets`: HTTP connections, the database and the like.
const OTHER_FILES: u64 = 4_500;

fn main() -> ExitCode {
    // Before anything else, since it starts for each picture.
    match child::asked(env::args_os()) {
        Some(max_pixels) => child::run(max_pixels),
        None => run_program(),
    }
}

#[tokio::main]
async fn run_program() -> ExitCode {
    let action = match settings::load() {
        // clap prints its help or the error by itself
        Err(SettingsError::Flags(error)) => error.exit(),
        action => action,
    };
    let done = match action {
        Ok(Action::EndChat { data_dir, link }) => {
            return say(control_socket::end_chat(&data_dir, &link).map_err(Into::into));
        }
        Ok(Action::Backup { data_dir, file }) => {
            return run_command(|| Ok(backup::backup(&data_dir, &file)?));
        }
        Ok(Action::Restore { data_dir, file, replaces }) => {
            return run_command(|| Ok(backup::restore(&data_dir, &file, replaces)?));
        }
        Ok(Action::Check { data_dir, path }) => {
            return run_command(|| Ok(backup::check(&data_dir, path.as_deref())?));
        }
        Ok(Action::LeaveCluster { data_dir }) => return run_command(|| Ok(leave_cluster(&data_dir)?)),
        Ok(Action::RecoverLog(settings)) => return recover_log(&settings).await,
        Ok(Action::Serve(settings, log)) => match logging::init(&log) {
            Ok(logging) => {
                let done = run(&settings).await;
                logging.end();
                done
            }
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // there is no other way to report if the standard error is closed
            let _ = writeln!(io::stderr(), "qchat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the data folder of a node of a cluster one of a Qchat that is alone. Returns a line about it.
fn leave_cluster(data_dir: &Path) -> Result<String, StartError> {
    let path = data_dir.join(DATABASE);
    let left = Store::leave_cluster(&path).and_then(|()| backup::missing_pictures(data_dir));
    match left {
        Ok(0) => Ok(format!("{} has left its cluster.", data_dir.display())),
        Ok(missing) => Ok(format!(
            "{} has left its cluster. Pictures whose files are missing: {missing}.",
            data_dir.display()
        )),
        Err(error) => Err(StartError::Database { path, error }),
    }
}

/// Recovers the log of a cluster from this node, and prints how. Only warnings and errors are logged.
async fn recover_log(settings: &Settings) -> ExitCode {
    let _logging = match logging::init(&logging::LogSettings::default()) {
        Ok(logging) => logging,
        Err(error) => return say(Err(error.into())),
    };
    say(start::cluster::recover_log(settings).await.map_err(Into::into))
}

/// Runs a command that an operator waits for, and prints what it answers. Only warnings and errors are logged.
fn run_command(command: impl FnOnce() -> Result<String, Box<dyn std::error::Error>>) -> ExitCode {
    say(logging::init(&logging::LogSettings::default()).map_err(Into::into).and_then(|_logging| command()))
}

/// Prints the answer to a command, or why there is none.
fn say(answer: Result<String, Box<dyn std::error::Error>>) -> ExitCode {
    match answer {
        Ok(answer) => {
            let _ = writeln!(io::stdout(), "{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "qchat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Raises the limit of open files as far as the system allows: each socket is one.
fn open_files(settings: &Settings) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files)
            if files.saturating_sub(OTHER_FILES)
                < u64::try_from(settings.quotas.sockets).unwrap_or(u64::MAX) =>
        {
            tracing::warn!(
                "this process may open {files} files, fewer than --max-sockets needs: raise `ulimit -n`, or lower --max-sockets"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "could not raise the limit of open files"),
    }
}

async fn run(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    open_files(settings);
    let server = start(settings).await?;
    if !assets::is_built() {
        tracing::warn!("this server was built without its site: pages work by their forms only");
    }
    // the only line on the standard output: it tells the port if Qchat was started on a free one
    writeln!(io::stdout(), "Qchat is at http://{}", server.address)?;
    let stored = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        why = server.cannot_go_on() => {
            if matches!(why, CannotGoOn::NotStored) {
                // clients learn that their last messages were not stored before they are told to reconnect
                tokio::time::sleep(LAST_ANSWERS).await;
            }
            Err(why)
        }
    };
    tracing::info!("stopping");
    server.stop().await;
    Ok(stored?)
}
