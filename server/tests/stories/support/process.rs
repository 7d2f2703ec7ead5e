//! The real program in a process of its own, for tests that only a process allows.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running `qchat`. It is killed when the test ends, passed or failed.
pub(crate) struct Process {
    child: Child,
    /// What it has written to standard error.
    said: File,
    pub(crate) address: SocketAddr,
}

/// The result of a `qchat` that did not start, or that has ended.
pub(crate) struct Failure {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

fn command(data_dir: &Path, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qchat"));
    command
        .args(["--site-addr", address, "--data-dir"])
        .arg(data_dir)
        .env("QCHAT_LOG", "error")
        // Tests post faster than the rate limit for people allows.
        .env("QCHAT_MESSAGE_RATE", "off")
        .env_remove("LEPTOS_SITE_ADDR")
        .env_remove("QCHAT_DATA_DIR")
        .env_remove("QCHAT_NATS_URL")
        .stdout(Stdio::piped());
    command
}

/// Returns a command that runs a program with a file size limit, in blocks of 512 bytes.
fn limited(program: &Command, blocks: u32) -> Command {
    let mut shell = Command::new("sh");
    // With the signal ignored, exceeding the limit fails as on a full disk.
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "sh"]);
    shell.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdout(Stdio::piped());
    shell
}

impl Process {
    /// Starts on a free port and waits until it listens.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::launch(command(data_dir, "127.0.0.1:0"))
    }

    /// As [`Process::start`], with these settings in the environment.
    pub(crate) fn start_with(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut program = command(data_dir, "127.0.0.1:0");
        program.envs(settings.iter().copied());
        Self::launch(program)
    }

    /// As [`Process::start`]. Also returns whether it checked all pages of the database first.
    pub(crate) fn start_again(data_dir: &Path) -> (Self, bool) {
        let mut process = Self::start_with(data_dir, &[("QCHAT_LOG", "info")]);
        let has_looked = process.said().contains("checking all pages");
        (process, has_looked)
    }

    /// As [`Process::start`], with a file size limit, in blocks of 512 bytes.
    pub(crate) fn start_with_file_limit(data_dir: &Path, blocks: u32) -> Self {
        Self::launch(limited(&command(data_dir, "127.0.0.1:0"), blocks))
    }

    fn launch(mut command: Command) -> Self {
        let said = tempfile::tempfile().unwrap();
        let mut child = command.stderr(said.try_clone().unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("Qchat is at http://") else {
            panic!("it said {line:?}")
        };
        Self { address: address.parse().unwrap(), said, child }
    }

    /// Runs a second `qchat` that asks the running one on a data folder to end a chat. Returns its exit code and its
    /// output.
    #[expect(clippy::unused_self, reason = "it is this one that is asked")]
    pub(crate) fn end_chat(&self, data_dir: &Path, link: &str) -> (Option<i32>, String) {
        Self::run(data_dir, &["--end-chat", link])
    }

    /// Runs a `qchat` that does something else than serve, such as `backup FILE`. Returns its exit code and its output.
    pub(crate) fn run(data_dir: &Path, args: &[&str]) -> (Option<i32>, String) {
        Self::output(command(data_dir, "127.0.0.1:0").args(args))
    }

    /// As [`Process::run`], with a file size limit, in blocks of 512 bytes.
    pub(crate) fn run_with_file_limit(data_dir: &Path, args: &[&str], blocks: u32) -> (Option<i32>, String) {
        let mut program = command(data_dir, "127.0.0.1:0");
        program.args(args);
        Self::output(&mut limited(&program, blocks))
    }

    fn output(command: &mut Command) -> (Option<i32>, String) {
        let asked = command.output().unwrap();
        let said = [asked.stdout, asked.stderr].concat();
        (asked.status.code(), String::from_utf8(said).unwrap())
    }

    /// Returns what `qchat --help` prints.
    pub(crate) fn help(data_dir: &Path) -> String {
        let asked = command(data_dir, "127.0.0.1:0").arg("--help").output().unwrap();
        String::from_utf8(asked.stdout).unwrap()
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once, without a chance to clean up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }

    /// Stops it from doing anything, without anyone being told.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after it was frozen.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(mut self) -> Failure {
        let code = self.child.wait().unwrap().code();
        Failure { code, said: self.said() }
    }

    /// Returns what it has written to standard error so far.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        self.said.rewind().unwrap();
        self.said.read_to_string(&mut said).unwrap();
        said
    }

    /// Runs a `qchat` that cannot start, and waits until it has ended.
    pub(crate) fn fail(data_dir: &Path, address: &str) -> Failure {
        Self::fail_with(data_dir, address, &[])
    }

    /// As [`Process::fail`], with these settings in the environment.
    pub(crate) fn fail_with(data_dir: &Path, address: &str, settings: &[(&str, &str)]) -> Failure {
        let mut program = command(data_dir, address);
        let mut child = program.envs(settings.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        Failure { code: child.wait().unwrap().code(), said }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.said();
        // A panic fails the test even if it was caught.
        let is_failing = std::thread::panicking();
        assert!(is_failing || !said.contains("panicked"), "{said}");
    }
}
