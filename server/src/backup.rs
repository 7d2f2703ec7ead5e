//! The commands with which an operator makes a backup, restores one, and checks what is stored.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use domain::Timestamp;
use engine::{
    durable_fs::NewFile,
    pictures::{Folder, Pictures, put_back},
    storage::{
        Store, StoreError,
        export::{self, ExportError},
    },
};

use crate::{
    control_socket::{self, ControlSocketError},
    start::{DATABASE, PICTURES, SESSION_KEY, StartError, make_folder},
};

/// The number of bytes that are copied at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// Why a backup could not be made or restored, or what a check has found, in one line.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database to be read.
    #[error("there is no database in the data folder {}", .0.display())]
    NoDatabase(PathBuf),
    /// The file that is to become a backup is something else.
    #[error("{} is not a backup of Qchat and is left as it is: use another name", .0.display())]
    OtherFile(PathBuf),
    /// The backup could not be written.
    #[error("the backup {} could not be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The running server did not send the whole backup.
    #[error("the backup {} could not be made: the server did not send all of it ({error})", path.display())]
    NotSent {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The backup cannot be read, or could not be made.
    #[error("the backup {}: {error}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: ExportError,
    },
    /// The database cannot be read or written.
    #[error("the database {}: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: ExportError,
    },
    /// The data folder has a database, which may not be replaced.
    #[error(
        "there is a database in the data folder {} already: use another folder, or --replace to delete what is there",
        .0.display()
    )]
    Occupied(PathBuf),
    /// The data folder cannot be created.
    #[error(transparent)]
    DataDir(#[from] StartError),
    /// The running server refused.
    #[error(transparent)]
    Server(ControlSocketError),
}

/// Writes everything that is stored to a file: what the server of a data folder sends, or what is there if none runs. The
/// file is read back before it gets its name. Returns a line about it.
///
/// # Errors
/// [`BackupError`]; no file is left then, and one that was there is as it was.
pub fn backup(data_dir: &Path, path: &Path) -> Result<String, BackupError> {
    let is_ours = match fs::metadata(path) {
        Ok(found) => {
            found.is_file() && (found.len() == 0 || export::is_export(path).is_ok_and(|is_export| is_export))
        }
        Err(_) => true,
    };
    if !is_ours {
        return Err(BackupError::OtherFile(path.to_owned()));
    }
    match control_socket::backup(data_dir) {
        Ok(sent) => write(path, sent),
        Err(ControlSocketError::NotRunning { .. }) => backup_of_files(data_dir, path),
        Err(error) => Err(BackupError::Server(error)),
    }
}

/// Makes a backup of a database that no server has open.
fn backup_of_files(data_dir: &Path, path: &Path) -> Result<String, BackupError> {
    let database = data_dir.join(DATABASE);
    let failed = |error| BackupError::Database { path: database.clone(), error };
    if !database.exists() {
        return Err(BackupError::NoDatabase(data_dir.to_owned()));
    }
    let store = Store::open_read_only(&database).map_err(|error| failed(error.into()))?;
    let view = store.read(Timestamp::default()).map_err(|error| failed(error.into()))?;
    let pictures = pictures(data_dir).map_err(|error| failed(ExportError::Io(error)))?;
    let (sent, out) = UnixStream::pair().map_err(|error| failed(error.into()))?;
    thread::scope(|scope| {
        let exporting =
            scope.spawn(move || view.export_with_files(out, |picture| pictures.files_of(picture)));
        let written = write(path, sent);
        match exporting.join() {
            Ok(Err(ExportError::Store(error))) => Err(failed(ExportError::Store(error))),
            Ok(_) => written,
            Err(_) => {
                Err(failed(StoreError::NotADatabase("its pages contradict each other".to_owned()).into()))
            }
        }
    })
}

/// Returns the files of pictures in a data folder. None if it has no folder for them.
fn pictures(data_dir: &Path) -> io::Result<Pictures> {
    let path = data_dir.join(PICTURES);
    if !path.exists() {
        return Ok(Pictures::off());
    }
    Pictures::open_to_read(Arc::new(Folder::open(&path)?))
}

/// Returns the number of pictures of messages whose files are missing in a data folder that no server has open.
///
/// # Errors
/// [`StoreError`] if the database or the folder with the files cannot be read.
pub fn missing_pictures(data_dir: &Path) -> Result<usize, StoreError> {
    let store = Store::open_read_only(&data_dir.join(DATABASE))?;
    let view = store.read(Timestamp::default())?;
    pictures(data_dir)?.count_missing(&view)
}

/// Writes a backup as it comes.
fn write(path: &Path, mut sent: impl Read) -> Result<String, BackupError> {
    let failed = |error| BackupError::Write { path: path.to_owned(), error };
    let mut new = NewFile::create(path).map_err(failed)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match sent.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BackupError::NotSent { path: path.to_owned(), error }),
        };
        new.file().write_all(chunk.get(..count).unwrap_or_default()).map_err(failed)?;
    }
    let contents = export::check(new.part()).map_err(|error| match error {
        // The sender ended.
        ExportError::Incomplete => BackupError::NotSent {
            path: path.to_owned(),
            error: io::Error::new(io::ErrorKind::UnexpectedEof, "it has stopped"),
        },
        error => BackupError::Backup { path: path.to_owned(), error },
    })?;
    new.finish().map_err(failed)?;
    Ok(format!("The backup {} is complete ({contents}).", path.display()))
}

/// Creates the database of a data folder from a backup. Returns lines about it.
///
/// # Errors
/// [`BackupError`]; the data folder is as it was then.
pub fn restore(data_dir: &Path, path: &Path, replaces: bool) -> Result<String, BackupError> {
    // no folder is created for a file that is no backup
    fs::File::open(path).map_err(|error| of_backup(path, ExportError::Io(error)))?;
    make_folder(data_dir)?;
    let database = data_dir.join(DATABASE);
    let mut files = RestoredFiles { path: data_dir.join(PICTURES), folder: None, written: Vec::new() };
    // Before the database, which names them.
    let restored = Store::restore_with_files(path, &database, replaces, |name, bytes| files.put(name, bytes));
    let contents = restored.map_err(|error| {
        files.remove();
        match error {
            ExportError::Occupied => BackupError::Occupied(data_dir.to_owned()),
            error @ ExportError::Store(_) => BackupError::Database { path: database.clone(), error },
            error => of_backup(path, error),
        }
    })?;
    let mut said = format!("The backup {} is restored ({contents}).", path.display());
    if !data_dir.join(SESSION_KEY).exists() {
        said += "\nBackups have no session key: copy session.key as well, or all users will be new ones.";
    }
    Ok(said)
}

/// The files of pictures that a backup brings.
struct RestoredFiles {
    /// The path of their folder.
    path: PathBuf,
    /// Their folder. `None` as long as there was no file, since a backup without pictures makes none.
    folder: Option<Folder>,
    /// The names of those that were not there before.
    written: Vec<String>,
}

impl RestoredFiles {
    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let is_new = !self.path.join(name).exists();
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => none.insert(Folder::open(&self.path)?),
        };
        put_back(folder, name, bytes)?;
        if is_new {
            self.written.push(name.to_owned());
        }
        Ok(())
    }

    /// Removes what was written.
    fn remove(&self) {
        for name in &self.written {
            let _ = fs::remove_file(self.path.join(name));
        }
        if !self.written.is_empty() {
            // Fails if there is something else in it.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Checks a backup, or what is stored in a data folder: by its server if one runs, which reads every record; otherwise
/// every page as well. Returns a line about it.
///
/// # Errors
/// [`BackupError`] with what is wrong first.
pub fn check(data_dir: &Path, path: Option<&Path>) -> Result<String, BackupError> {
    let folder = match path {
        Some(path) if !path.is_dir() => {
            let contents = export::check(path).map_err(|error| of_backup(path, error))?;
            return Ok(format!("The backup {} is intact ({contents}).", path.display()));
        }
        Some(folder) => folder,
        None => data_dir,
    };
    let database = folder.join(DATABASE);
    match control_socket::check(folder) {
        Ok(contents) => Ok(format!(
            "All records of the running server are intact ({contents}). Its pages are checked only while it does not run."
        )),
        Err(ControlSocketError::NotRunning { .. }) if !database.exists() => {
            Err(BackupError::NoDatabase(folder.to_owned()))
        }
        Err(ControlSocketError::NotRunning { .. }) => {
            let missing = |contents| Ok((contents, missing_pictures(folder)?));
            match Store::check(&database).and_then(missing) {
                Ok((contents, missing)) => Ok(format!(
                    "The database {} is intact ({contents}{}).",
                    database.display(),
                    control_socket::and_missing(missing)
                )),
                Err(error) => Err(BackupError::Database { path: database, error }),
            }
        }
        Err(error) => Err(BackupError::Server(error)),
    }
}

fn of_backup(path: &Path, error: ExportError) -> BackupError {
    BackupError::Backup { path: path.to_owned(), error }
}
