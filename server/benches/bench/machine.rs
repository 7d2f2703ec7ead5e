//! The resources of a process, as reported by Linux (proc(5)).

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A process that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched(pub(crate) u32);

impl Watched {
    fn folder(self) -> PathBuf {
        ["/proc", &self.0.to_string()].iter().collect()
    }

    /// Returns the processor time of all its threads so far.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(self.folder().join("task"))? {
            // A thread may end while the others are read.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
            nanos += first.ok_or_else(|| io::Error::other("schedstat is not as expected"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Returns its resident memory, in bytes.
    pub(crate) fn resident(self) -> io::Result<u64> {
        Ok(self.number("status", "VmRSS:")? * 1024)
    }

    /// Returns the number of bytes that it has read from disks so far.
    pub(crate) fn fetched(self) -> io::Result<u64> {
        self.number("io", "read_bytes:")
    }

    fn number(self, file: &str, name: &str) -> io::Result<u64> {
        let text = fs::read_to_string(self.folder().join(file))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("{file} is not as expected")))
    }
}

/// Drops a file from the page cache. Whether that worked has to be observed when the file is read: there may be no
/// dd(1), and a file system in memory cannot drop it.
pub(crate) fn put_out_of_memory(file: &Path) -> io::Result<()> {
    // Pages that are not written yet stay in the cache.
    File::open(file)?.sync_all()?;
    let mut input = OsString::from("if=");
    input.push(file);
    let _ = Command::new("dd").arg(input).args(["iflag=nocache", "count=0", "status=none"]).status();
    Ok(())
}

/// Describes the machine in a few words.
pub(crate) fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']).to_owned();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}
