//! The `qchat` program: reads settings, starts the server, and runs until it is told to stop.

#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use server::{
    Settings, control_socket,
    http::assets,
    logging,
    settings::{self, Action, SettingsError},
    start,
};
use tokio::signal::unix::{SignalKind, signal};

/// How long users are told that nothing can be stored before the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The number of open files besides the sockets of `--max-sockets`: HTTP connections, the database and the like.
const OTHER_FILES: u64 = 4_500;

#[tokio::main]
async fn main() -> ExitCode {
    let action = match settings::load() {
        // clap prints its help or the error by itself
        Err(SettingsError::Flags(error)) => error.exit(),
        action => action,
    };
    let done = match action {
        Ok(Action::EndChat { data_dir, link }) => {
            return say(control_socket::end_chat(&data_dir, &link).map_err(Into::into));
        }
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

/// Prints the answer to a command over the control socket, or why there is none.
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
                < u64::try_from(settings.caps.sockets).unwrap_or(u64::MAX) =>
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
        () = server.cannot_go_on() => {
            // clients learn that their last messages were not stored before they are told to reconnect
            tokio::time::sleep(LAST_ANSWERS).await;
            Err("nothing can be stored any more (the log above says why): see to the disk and start again")
        }
    };
    tracing::info!("stopping");
    server.stop().await;
    Ok(stored?)
}
