//! The real program as a process of its own, for what only a process can suffer.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running `qchat`. It ends with the test, however that ends.
pub(crate) struct Process {
    child: Child,
    /// What it writes to the standard error.
    said: File,
    pub(crate) address: SocketAddr,
}

/// What a `qchat` that did not start left behind.
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
        // whoever tries to lose a message writes faster than people do
        .env("QCHAT_MESSAGE_RATE", "off")
        .env_remove("LEPTOS_SITE_ADDR")
        .env_remove("QCHAT_DATA_DIR")
        .stdout(Stdio::piped());
    command
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

    /// As [`Process::start`], and whether it looked at all pages of the database first.
    pub(crate) fn start_again(data_dir: &Path) -> (Self, bool) {
        let mut process = Self::start_with(data_dir, &[("QCHAT_LOG", "info")]);
        let has_looked = process.said().contains("looking at all pages");
        (process, has_looked)
    }

    /// As [`Process::start`], with files of so many blocks of 512 bytes at most.
    pub(crate) fn start_with_file_limit(data_dir: &Path, blocks: u32) -> Self {
        let program = command(data_dir, "127.0.0.1:0");
        let mut shell = Command::new("sh");
        // without the signal, writing too much fails as it does on a full disk
        shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdout(Stdio::piped());
        Self::launch(shell)
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

    /// Has a second `qchat` ask the one that runs on a data folder to end a chat. Gives its exit code and what it said.
    #[expect(clippy::unused_self, reason = "it is this one that is asked")]
    pub(crate) fn end_chat(&self, data_dir: &Path, link: &str) -> (Option<i32>, String) {
        let asked = command(data_dir, "127.0.0.1:0").args(["--end-chat", link]).output().unwrap();
        let said = [asked.stdout, asked.stderr].concat();
        (asked.status.code(), String::from_utf8(said).unwrap())
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, without a chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(told.success() && self.child.wait().unwrap().success(), "{}", self.said());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(mut self) -> Failure {
        let code = self.child.wait().unwrap().code();
        Failure { code, said: self.said() }
    }

    /// What it wrote to the standard error so far.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        self.said.rewind().unwrap();
        self.said.read_to_string(&mut said).unwrap();
        said
    }

    /// Starts where it cannot.
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
        // a panic that was caught is one all the same
        let is_failing = std::thread::panicking();
        assert!(is_failing || !said.contains("panicked"), "{said}");
    }
}
