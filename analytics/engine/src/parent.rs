//! Waits for the end of the process that owns this one.
//!
//! In: a process id. Out: a call when that process has ended. A pidfd refers to the process and not to its number, so
//! reuse of the number does no harm, and unlike `PR_SET_PDEATHSIG` it does not fire when merely the thread that started us
//! ends.

use std::io;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Calls `ended` once, from a thread of its own, when the process has ended; at once when it already has.
pub(crate) fn watch(pid: u32, ended: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => {
            ended();
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    std::thread::Builder::new().name("parent-watch".into()).spawn(move || {
        let mut events = [PollFd::new(&process, PollFlags::IN)];
        while poll(&mut events, None).is_err() {
            // Interrupted by a signal: the wait goes on.
        }
        ended();
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn the_end_of_a_process_is_told_once_and_not_before() {
        let mut process = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let (sender, receiver) = mpsc::channel();
        let again = sender.clone();
        watch(process.id(), move || sender.send(()).unwrap()).unwrap();
        assert!(receiver.try_recv().is_err());
        process.kill().unwrap();
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        process.wait().unwrap();
        watch(process.id(), move || again.send(()).unwrap()).unwrap();
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
