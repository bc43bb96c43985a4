//! Making the executor of a shard: on which core, with which rings, and in words what stands in its way.
//!
//! glommio asks the kernel for three rings an executor, and can do so only while nothing forbids it: executors are made before
//! the filter of system calls is in force.

use std::io;
use std::time::Duration;

use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, ReactorErrorKind};
use io_uring::IoUring;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::EngineError;

/// Locked memory that glommio wants to be allowed, in bytes.
const MEMLOCK_MIN: u64 = 512 << 10;
/// Memory for buffers that glommio registers with the kernel; files go through its blocking thread, so the least it takes.
const IO_MEMORY_LEN: usize = 64 << 10;
/// How long an executor looks on before it parks. The rings were looked at just before.
const SPIN_BEFORE_PARK: Duration = Duration::from_micros(2);
/// glommio 0.9 may take its executor for idle when this timer goes off, although tasks are runnable. It never goes off.
const PREEMPT_NEVER: Duration = Duration::from_secs(3_600);
/// Ring entries beside those of connections: the shard's own descriptors, writes that wait, files.
const ENTRIES_BESIDE: usize = 64;
/// Fewest entries of a ring, and the most, for they are locked memory.
const ENTRIES_MIN: usize = 128;
const ENTRIES_MAX: usize = 4_096;

/// Entries of an executor's rings when `connections` may wait for their first byte. More completions than entries between two
/// looks at the rings would raise glommio's preempt flag for no task: the other way to be taken for idle.
pub(super) fn ring_entries(connections: usize) -> usize {
    let wanted = connections.saturating_add(ENTRIES_BESIDE).min(ENTRIES_MAX);
    wanted.next_power_of_two().clamp(ENTRIES_MIN, ENTRIES_MAX)
}

/// The core of a shard: one of those that the process may use; with more shards than cores they share.
pub(super) fn core_of(shard: usize) -> Option<usize> {
    let cores = core_affinity::get_core_ids()?;
    cores.get(shard.checked_rem(cores.len())?).map(|core| core.id)
}

/// Raises this process's limit of locked memory as far as it may, and looks whether it can have rings.
pub(crate) fn allow_rings(shards: usize) -> Result<(), ExecutorProblem> {
    raise_memlock(shards);
    check()
}

/// Root may go beyond its hard limit, anybody up to it.
fn raise_memlock(shards: usize) {
    let Some(most) = getrlimit(Resource::Memlock).maximum else {
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        return;
    };
    let more = most.max(MEMLOCK_MIN.saturating_mul(shards as u64));
    if setrlimit(Resource::Memlock, Rlimit { current: Some(more), maximum: Some(more) }).is_err() {
        let _ = setrlimit(Resource::Memlock, Rlimit { current: Some(most), maximum: Some(most) });
    }
}

/// Makes the executor of `shard`, which runs on this thread from now on. Where the thread cannot be pinned it runs anywhere.
pub(super) fn make(shard: usize, core: Option<usize>, ring_entries: usize) -> Result<LocalExecutor, EngineError> {
    check().map_err(|problem| EngineError::Executor { shard, problem })?;
    let build = |placement| {
        LocalExecutorBuilder::new(placement)
            .preempt_timer(PREEMPT_NEVER)
            .spin_before_park(SPIN_BEFORE_PARK)
            .ring_depth(ring_entries)
            .io_memory(IO_MEMORY_LEN)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
            .make()
    };
    if let Some(core) = core {
        match build(Placement::Fixed(core)) {
            Ok(executor) => return Ok(executor),
            Err(error) => warn!(shard, core, %error, "the shard is not pinned to a core"),
        }
    } else {
        warn!(shard, "the shard is not pinned to a core: the kernel does not tell which this process may use");
    }
    build(Placement::Unbound).map_err(|error| EngineError::Executor { shard, problem: ExecutorProblem::of(error) })
}

/// Why a shard cannot have an executor.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorProblem {
    /// The limit of locked memory.
    #[error(
        "this process may lock {limit} bytes of memory and each shard needs {needed}; raise the limit (`ulimit -l`, \
         LimitMEMLOCK= in a unit, memlock in limits.conf)"
    )]
    Memlock {
        /// The limit, in bytes.
        limit: u64,
        /// What an executor needs, in bytes.
        needed: u64,
    },
    /// The kernel or a policy refuses io_uring.
    #[error("io_uring cannot be used ({source}); {advice}")]
    Refused {
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

impl ExecutorProblem {
    fn of(error: GlommioError<()>) -> Self {
        match error {
            GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(limit, needed)) => {
                Self::Memlock { limit, needed }
            }
            error => match io::Error::from(error) {
                source if source.raw_os_error().is_some() => Self::Refused { advice: advice(&source), source },
                other => Self::Other(other),
            },
        }
    }
}

/// Looks whether an executor can be made at all: glommio itself ends the process where the kernel has no io_uring for it.
fn check() -> Result<(), ExecutorProblem> {
    if let Some(limit) = getrlimit(Resource::Memlock).current.filter(|limit| *limit < MEMLOCK_MIN) {
        return Err(ExecutorProblem::Memlock { limit, needed: MEMLOCK_MIN });
    }
    IoUring::new(1).map(drop).map_err(|source| ExecutorProblem::Refused { advice: advice(&source), source })
}

fn advice(error: &io::Error) -> &'static str {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match (disabled.trim(), error.kind()) {
        ("2", _) => "sysctl kernel.io_uring_disabled is 2: set it to 0",
        ("1", io::ErrorKind::PermissionDenied) => {
            "sysctl kernel.io_uring_disabled is 1: set it to 0, or kernel.io_uring_group to the group of the engine's user"
        }
        (_, io::ErrorKind::OutOfMemory) => {
            "the limit of locked memory is used up: raise it (`ulimit -l`, LimitMEMLOCK=)"
        }
        (_, io::ErrorKind::PermissionDenied) => {
            "a policy of this machine or container forbids it: allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        _ => "the kernel is too old or built without it: Linux 5.8 is the least",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_beyond_the_cores_share_them() {
        let cores = core_affinity::get_core_ids().unwrap().len();
        assert!(core_of(0).is_some());
        assert_eq!(core_of(0), core_of(cores));
    }

    #[test]
    fn rings_hold_every_connection_and_stay_bounded() {
        assert_eq!(ring_entries(1), ENTRIES_MIN);
        assert_eq!(ring_entries(256), 512);
        assert_eq!(ring_entries(usize::MAX), ENTRIES_MAX);
    }

    #[test]
    fn a_core_that_is_not_there_costs_the_pinning_only() {
        let executor = make(0, Some(1 << 20), ENTRIES_MIN).unwrap();
        assert_eq!(executor.run(async { 7 }), 7);
    }

    #[test]
    fn what_forbids_an_executor_is_named_with_what_to_do() {
        let problem = ExecutorProblem::of(GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(65_536, 524_288)));
        let words = EngineError::Executor { shard: 1, problem }.to_string();
        for part in ["shard 1", "65536", "524288", "LimitMEMLOCK="] {
            assert!(words.contains(part), "no {part} in {words}");
        }
        let forbidden = io::Error::from_raw_os_error(libc::EPERM);
        let words = ExecutorProblem::Refused { advice: advice(&forbidden), source: forbidden }.to_string();
        assert!(words.contains("io_uring"), "{words}");
    }
}
