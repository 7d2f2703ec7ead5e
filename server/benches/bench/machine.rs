//! What a process takes of the machine, as Linux tells it (proc(5)).

use std::{fs, io, path::PathBuf, time::Duration};

/// A process that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched(pub(crate) u32);

impl Watched {
    fn folder(self) -> PathBuf {
        ["/proc", &self.0.to_string()].iter().collect()
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(self.folder().join("task"))? {
            // a thread may end while the others are asked
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
            nanos += first.ok_or_else(|| io::Error::other("schedstat is not as expected"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Bytes of memory that are its own now.
    pub(crate) fn resident(self) -> io::Result<u64> {
        let text = fs::read_to_string(self.folder().join("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()).and_then(|kib| kib.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("status is not as expected"))
    }
}

/// What machine this is, in a few words.
pub(crate) fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']).to_owned();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}
