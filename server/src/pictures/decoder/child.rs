//! What the process of a decoder does: it limits itself, reads a file, and writes what was made of it. It starts for each
//! picture, so it needs nothing else of the server: no settings, no log, no runtime.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::AsFd,
    process::ExitCode,
};

use engine::pictures::Encoded;
use rlimit::Resource;
use rustix::process::setpriority_process;

use super::{Head, Part};
use crate::pictures::decode;

/// The flag by which the program becomes a decoder. Its value is the maximum number of pixels.
pub const FLAG: &str = "--decode-picture";
/// How much memory a decoder may take, beyond what the program takes to start, in bytes.
const MEMORY: u64 = 200_000_000;
/// What the program takes to start, in bytes of its address space, if the system does not say it.
const PROGRAM: u64 = 100_000_000;
/// How long a decoder may use a core, in seconds. A picture of 50 million pixels takes a few.
const CORE_SECONDS: u64 = 10;
/// The niceness of a decoder: a tenth of the weight of others, if these need the cores.
const NICE: i32 = 10;

/// Returns the maximum number of pixels if this process was started to decode a picture.
pub fn asked(args: impl IntoIterator<Item = OsString>) -> Option<u64> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != FLAG {
        return None;
    }
    args.next()?.into_string().ok()?.parse().ok()
}

/// Makes a picture of the standard input, and writes it to the standard output.
pub fn run(max_pixels: u64) -> ExitCode {
    match limit().and_then(|()| answer(max_pixels)) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads more than that.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Bounds what this process may take, before it reads a byte.
fn limit() -> io::Result<()> {
    // The system of others than Linux has no such limit.
    if cfg!(target_os = "linux") {
        let taken = address_space().unwrap_or(PROGRAM);
        lower(Resource::AS, taken.saturating_add(MEMORY))?;
    }
    lower(Resource::CPU, CORE_SECONDS)?;
    lower(Resource::CORE, 0)?;
    // One that cannot be nice decodes all the same, and so does one that is not the first to go where memory runs out.
    let _ = setpriority_process(None, NICE);
    if cfg!(target_os = "linux") {
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
    }
    Ok(())
}

fn lower(resource: Resource, to: u64) -> io::Result<()> {
    let (_, hard) = resource.get()?;
    let to = to.min(hard);
    resource.set(to, to)
}

/// Returns the size of the address space of this process, in bytes. `None` if the system does not say it.
fn address_space() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kibibytes: u64 = size.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1_024)
}

fn answer(max_pixels: u64) -> io::Result<()> {
    // A file, which says how large it is, so that no more memory is taken for it.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut file = Vec::new();
    input.read_to_end(&mut file)?;
    let (head, files) = match decode::prepare(&file, max_pixels) {
        Ok(Encoded { large, large_size, small, small_size }) => {
            let part = |file: &[u8], (width, height)| Part { bytes: file.len(), width, height };
            let head = Head::Made { large: part(&large, large_size), small: part(&small, small_size) };
            (head, [large, small])
        }
        Err(problem) => (Head::Refused(problem), <[Vec<u8>; 2]>::default()),
    };
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &head)?;
    output.write_all(b"\n")?;
    files.iter().try_for_each(|file| output.write_all(file))?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_asked_by_its_flag_alone() {
        let asked = |args: &[&str]| super::asked(args.iter().map(OsString::from));
        assert_eq!(asked(&["qchat", FLAG, "50000000"]), Some(50_000_000));
        for other in
            [&[][..], &["qchat"], &["qchat", FLAG], &["qchat", FLAG, "x"], &["qchat", "backup", FLAG, "1"]]
        {
            assert_eq!(asked(other), None, "{other:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_how_large_the_address_space_is() {
        assert!(address_space().is_some_and(|bytes| bytes > 1_000_000));
    }
}
