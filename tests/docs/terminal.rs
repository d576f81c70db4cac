//! The terminals of somebody who works through a page: one for commands, and one for each thing that keeps running.
//!
//! All share one empty folder. They end with the test, also when it fails.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tests::{program, until};

/// For one command.
const RUN_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_mins(1);

/// What a command gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// Standard output and error together.
    pub(crate) output: String,
}

/// The folder and its terminals.
#[derive(Debug)]
pub(crate) struct Desk {
    root: TempDir,
    listen: String,
    shell: Child,
    input: ChildStdin,
    codes: mpsc::Receiver<String>,
    open: Vec<(String, Child)>,
}

impl Desk {
    /// `port`: where analytics listens, in place of its default.
    pub(crate) fn new(port: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for folder in ["bin", "desk", "seen"] {
            fs::create_dir(root.path().join(folder)).expect("the temporary folder is empty");
        }
        let program = program().expect("the program is built");
        std::os::unix::fs::symlink(program, root.path().join("bin/turnpike"))
            .expect("the temporary folder is empty");
        let listen = format!("127.0.0.1:{port}");
        let mut shell = bash(root.path(), &listen)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let input = shell.stdin.take().expect("it is a pipe");
        let output = shell.stdout.take().expect("it is a pipe");
        let (sender, codes) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Self { root, listen, shell, input, codes, open: Vec::new() }
    }

    /// Runs commands in the first terminal, which keeps its variables.
    pub(crate) fn run(&mut self, script: &str) -> Ran {
        let file = self.root.path().join("seen/block.sh");
        let seen = self.root.path().join("seen/block.txt");
        fs::write(&file, script).expect("the folder can be written");
        let line = format!(". {} > {} 2>&1 < /dev/null; echo $?", file.display(), seen.display());
        writeln!(self.input, "{line}").expect("the shell reads");
        let code = self.codes.recv_timeout(RUN_WITHIN);
        let output = String::from_utf8_lossy(&fs::read(seen).unwrap_or_default()).into_owned();
        let code = code
            .unwrap_or_else(|_| panic!("no end within {RUN_WITHIN:?} of\n{script}\n--- output\n{output}"));
        Ran { code: code.trim().parse().expect("a shell's exit code is a number"), output }
    }

    /// Runs commands in a terminal of their own.
    pub(crate) fn open(&mut self, name: &str, script: &str) {
        let seen = File::create(self.path(name)).expect("the folder can be written");
        let both = seen.try_clone().expect("a file can be cloned");
        let child = bash(self.root.path(), &self.listen)
            .args(["-c", script])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(seen)
            .stderr(both)
            .spawn()
            .expect("bash runs");
        self.open.push((name.to_owned(), child));
    }

    /// What a terminal shows.
    pub(crate) fn seen(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Ctrl-C in a terminal; waits for its end.
    pub(crate) fn interrupt(&mut self, name: &str) {
        let (_, child) = self.open.iter_mut().find(|(open, _)| open == name).expect("the terminal is open");
        signal(child, "INT");
        until(name, STOPPED_WITHIN, || child.try_wait().is_ok_and(|status| status.is_some()));
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join("seen").join(format!("{name}.terminal.txt"))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for (_, child) in &mut self.open {
            signal(child, "KILL");
            drop(child.wait());
        }
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

fn bash(root: &Path, listen: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command
        .current_dir(root.join("desk"))
        .env("PATH", format!("{}:{path}", root.join("bin").display()))
        .env("TURNPIKE_LISTEN", listen)
        .env("no_proxy", "*")
        .env_remove("TURNPIKE_STATE");
    command
}

/// To the whole terminal, as a keyboard does.
fn signal(child: &Child, signal: &str) {
    // It may have ended by itself meanwhile: then there is nothing to do.
    drop(Command::new("kill").args([&format!("-{signal}"), "--", &format!("-{}", child.id())]).output());
}
