//! What the kernel tells about processes and the machine.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use streams_harness::name_of;

use crate::error::BenchError;

/// Fields of `/proc/PID/stat` behind the name, from 0: user and system time.
const STAT_UTIME: usize = 11;
/// See [`STAT_UTIME`].
const STAT_STIME: usize = 12;

/// Memory of a process, KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Everything resident.
    pub rss_kib: u64,
    /// Heap and stacks.
    pub anon_kib: u64,
    /// Shared memory, the rings among it: pages of them become resident as the rings go round the first time.
    pub shared_kib: u64,
}

/// Memory of the process `pid`.
///
/// # Errors
/// [`BenchError::File`] when it is gone.
pub fn memory(pid: u32) -> Result<Memory, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let status = fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    Ok(Memory { rss_kib: kib("VmRSS"), anon_kib: kib("RssAnon"), shared_kib: kib("RssShmem") })
}

/// Open descriptors of the process `pid`.
///
/// # Errors
/// [`BenchError::File`] when it is gone.
pub fn descriptors(pid: u32) -> Result<usize, BenchError> {
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    Ok(fs::read_dir(&folder).map_err(BenchError::file("list", &folder))?.count())
}

/// Processor time of a process or thread. The kernel keeps the sum exactly and divides it by what it finds running at each tick,
/// so the parts are right over seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In its own code.
    pub user: Duration,
    /// In the kernel on its behalf. Interrupts that came meanwhile are in it, unless the kernel was built with
    /// `CONFIG_IRQ_TIME_ACCOUNTING`.
    pub kernel: Duration,
}

impl CpuTime {
    /// Both together.
    pub fn total(self) -> Duration {
        self.user + self.kernel
    }

    /// What came since `before`.
    pub fn since(self, before: Self) -> Self {
        let Self { user, kernel } = self;
        Self { user: user.saturating_sub(before.user), kernel: kernel.saturating_sub(before.kernel) }
    }
}

/// Processor time that the process `pid` has used.
///
/// # Errors
/// [`BenchError::File`] when it is gone.
pub fn cpu_times(pid: u32) -> Result<CpuTime, BenchError> {
    stat(&PathBuf::from(format!("/proc/{pid}/stat"))).map(|(_, time)| time)
}

/// The same, user and system together.
///
/// # Errors
/// [`BenchError::File`] when it is gone.
pub fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    cpu_times(pid).map(CpuTime::total)
}

/// How long the threads of the process `pid` were ready to run and another one had their core; zero where the kernel keeps no
/// such account (`CONFIG_SCHED_INFO`).
///
/// # Errors
/// [`BenchError::File`] when it is gone.
pub fn waited(pid: u32) -> Result<Duration, BenchError> {
    let folder = PathBuf::from(format!("/proc/{pid}/task"));
    let entries = fs::read_dir(&folder).map_err(BenchError::file("list", &folder))?;
    // Time on a core, time waiting for one, turns; ns.
    let waited = |text: String| text.split_whitespace().nth(1)?.parse::<u64>().ok();
    let of = |thread: PathBuf| fs::read_to_string(thread.join("schedstat")).ok().and_then(waited);
    Ok(Duration::from_nanos(entries.flatten().filter_map(|entry| of(entry.path())).sum()))
}

/// The kernel's thread that does a core's network work when there is too much of it for an interrupt; `None` where it cannot be
/// seen, as in a container.
pub fn softirq_thread(core: usize) -> Option<u32> {
    let wanted = format!("ksoftirqd/{core}");
    let mut ids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.find(|pid| name_of(*pid).as_deref() == Some(&wanted))
}

/// Name and processor time of every thread of the process `pid`.
///
/// # Errors
/// [`BenchError::File`] when it is gone.
pub fn threads(pid: u32) -> Result<Vec<(u32, String, Duration)>, BenchError> {
    let folder = PathBuf::from(format!("/proc/{pid}/task"));
    let entries = fs::read_dir(&folder).map_err(BenchError::file("list", &folder))?;
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A thread that ends while it is looked at has nothing to say.
    let of =
        |id: u32| stat(&folder.join(id.to_string()).join("stat")).ok().map(|(name, time)| (id, name, time.total()));
    Ok(ids.filter_map(of).collect())
}

/// Processor time of the whole machine that was not idle, all cores together.
///
/// # Errors
/// [`BenchError::File`] when the kernel does not tell.
pub fn machine_busy() -> Result<Duration, BenchError> {
    let path = PathBuf::from("/proc/stat");
    let text = fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal; guest times are part of user already.
    let busy = fields.take(8).enumerate().filter(|(index, _)| !matches!(index, 3 | 4));
    Ok(ticks(busy.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()))
}

/// Time that the hypervisor gave to others while this machine wanted it, all cores together.
///
/// # Errors
/// [`BenchError::File`] when the kernel does not tell.
pub fn machine_stolen() -> Result<Duration, BenchError> {
    let path = PathBuf::from("/proc/stat");
    let text = fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    let stolen = text.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse().ok());
    Ok(ticks(stolen.unwrap_or_default()))
}

/// Cores of the whole machine.
///
/// # Errors
/// [`BenchError::File`] when the kernel does not tell.
pub fn machine_cores() -> Result<usize, BenchError> {
    let path = PathBuf::from("/proc/stat");
    let text = fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    // The first such line is the sum of the others.
    Ok(text.lines().filter(|line| line.starts_with("cpu")).skip(1).count().max(1))
}

fn stat(path: &std::path::Path) -> Result<(String, CpuTime), BenchError> {
    let text = fs::read_to_string(path).map_err(BenchError::file("read", path))?;
    // The name stands in parentheses and may hold any byte, parentheses too.
    let (head, tail) = text.rsplit_once(')').unwrap_or_default();
    let name = head.split_once('(').map_or(head, |(_, name)| name);
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
    Ok((name.to_owned(), CpuTime { user: ticks(field(STAT_UTIME)), kernel: ticks(field(STAT_STIME)) }))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory_and_has_a_thread_of_this_name() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap().rss_kib > 0);
        let thread = std::thread::Builder::new().name("odd) name (".to_owned());
        let found = thread.spawn(move || threads(pid).unwrap()).unwrap().join().unwrap();
        assert!(found.iter().any(|(_, name, _)| name == "odd) name ("), "{found:?}");
        assert!(machine_busy().unwrap() >= cpu_time(pid).unwrap());
    }

    #[test]
    fn a_process_that_shares_a_core_waits_for_it() {
        let spin = || {
            let core = crate::cores::Pair::find().unwrap().measured;
            crate::cores::pin(core).unwrap();
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(200) {
                std::hint::spin_loop();
            }
        };
        let before = waited(std::process::id()).unwrap();
        std::thread::scope(|scope| {
            let threads = [scope.spawn(spin), scope.spawn(spin)];
            // A thread that has ended is in no account.
            while !threads.iter().all(|thread| thread.is_finished()) {
                if waited(std::process::id()).unwrap() > before + Duration::from_millis(20) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            panic!("two threads shared a core for 200 ms and none waited");
        });
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_with_its_path() {
        let error = cpu_time(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("/proc/4294967295/stat"), "{error}");
    }
}
