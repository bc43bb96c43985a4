//! What a thread says when a defect ends it, and the end of the process that follows.
//!
//! Half an engine is worse than none: the inputs at home on a shard that is gone stay claimed, and encoders are handed to a box
//! that nobody reads. A new engine is there within a second, and viewers come back by themselves.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::abort;

use tracing::error;

/// From now on a panic of any thread is logged with its message, place and thread (`shard-1`), and ends the process by SIGABRT.
/// Call it once the log has been started, whose own hook it replaces.
pub fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if CONTAINED.get() {
            return tell(panic, "a defect of a library: it ends the one session that met it");
        }
        tell(panic, "a defect of this program: a thread panicked, and the engine ends with it");
        abort();
    }));
}

thread_local! {
    /// This thread works for one session, which may end alone.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Calls a library with an outsider's bytes. `None`: it panicked, and what it worked on must not be used any more.
pub(crate) fn contained<R>(work: impl FnOnce() -> R) -> Option<R> {
    CONTAINED.set(true);
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    CONTAINED.set(false);
    done
}

fn tell(panic: &PanicHookInfo<'_>, what: &str) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let shard = thread.strip_prefix("shard-").and_then(|index| index.parse::<usize>().ok());
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string);
    error!(thread, shard, place, message, "{what}");
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::net::SocketAddr;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use streams_config::Config;

    use super::*;
    use crate::backend::{PacketBackend, Sent};
    use crate::edge::admission::PlaceLimits;
    use crate::host;

    /// Set in the process that is to panic.
    const CHILD: &str = "STREAMS_TEST_PANICKING_CHILD";
    /// Far beyond what a loaded machine needs.
    const PATIENCE: Duration = Duration::from_secs(60);

    const PLACES: PlaceLimits = PlaceLimits { unpublished_max: 1, unpublished_address_max: 1, publishing_max: 1 };

    /// A way to the wire with a defect.
    struct Broken([u8; 1]);

    impl PacketBackend for Broken {
        fn recv(&mut self, _: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
            panic!("the backend of this test is broken");
        }

        fn set_recv_batch(&mut self, datagrams: usize) -> usize {
            datagrams
        }

        fn frame(&mut self, _to: SocketAddr) -> &mut [u8] {
            &mut self.0
        }

        fn train_len_max(&self) -> usize {
            1
        }

        fn train_packets_max(&self) -> usize {
            1
        }

        fn send_train(&mut self, _: SocketAddr, _: usize, _: usize) -> io::Result<Sent> {
            Ok(Sent::Done)
        }

        fn flush(&mut self) -> io::Result<Sent> {
            Ok(Sent::Done)
        }

        fn local_addr(&self) -> SocketAddr {
            SocketAddr::from(([127, 0, 0, 1], 1))
        }
    }

    /// One shard of two runs into a defect; the other goes on if it is let.
    fn panic_in_a_shard() {
        streams_logs::start(&Config::default().log, None).unwrap();
        end_process_on_panic();
        let (settings, _folder) = crate::embedded::tests::settings("last-words");
        let shard = host::spawn(1, host::tests::settings(PLACES).0, move || {
            crate::embedded::parts(&settings, Box::new(Broken([0])))
        })
        .unwrap();
        shard.made().unwrap();
        shard.go();
        std::thread::sleep(PATIENCE);
    }

    #[test]
    fn a_panic_of_one_shard_ends_the_whole_process_and_its_last_words_are_logged() {
        if std::env::var_os(CHILD).is_some() {
            return panic_in_a_shard();
        }
        let this = std::env::current_exe().unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        let mut child = Command::new(this)
            .args(["--exact", &name, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        // A pipe that nobody reads would hold the child up.
        let words = std::thread::spawn(move || {
            let mut words = String::new();
            stderr.read_to_string(&mut words).map(|_| words)
        });
        let deadline = Instant::now() + PATIENCE / 2;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let words = words.join().unwrap().unwrap();
        // The child could not.
        let folder = std::env::temp_dir().join(format!("streams-embedded-last-words-{}", child.id()));
        let _ = std::fs::remove_dir_all(folder);
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}: {words}");
        for part in ["ERROR", "shard=1", "the backend of this test is broken", "last_words.rs:"] {
            assert!(words.contains(part), "no {part} in {words}");
        }
    }
}
