//! Cleans up after this process however it ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A small shell that waits for the end of this process and then runs the last command that it was given.
///
/// Statics are never dropped and a killed process drops nothing, but its end of a pipe closes in any case.
pub(crate) struct Watcher {
    shell: Child,
}

impl Watcher {
    pub(crate) fn start() -> Self {
        let shell = Command::new("sh")
            .args(["-c", r#"trap "" INT TERM HUP; while read -r line; do last=$line; done; eval "$last""#])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for the tests, and this comes after them.
            .process_group(0)
            .spawn()
            .expect("sh runs");
        Self { shell }
    }

    /// What to run in the end, instead of what was said before. One line of shell.
    pub(crate) fn in_the_end(&mut self, command: &str) {
        let stdin = self.shell.stdin.as_mut().expect("piped, and open until the drop");
        writeln!(stdin, "{command}").expect("the shell reads to the end");
    }
}

impl Drop for Watcher {
    /// Whoever drops it has cleaned up already.
    fn drop(&mut self) {
        self.in_the_end(":");
        drop(self.shell.stdin.take());
        // It ends at once; waiting leaves no zombie.
        let _ = self.shell.wait();
    }
}
