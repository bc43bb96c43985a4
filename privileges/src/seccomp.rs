//! The system calls that a running engine may make. Anything else ends the process.
//!
//! The list comes from traces of the engine under every whole-system test. It holds no call that makes a socket, starts a
//! program, looks into another process, changes a user or a mount, or maps memory that is executable.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};
use streams_config::Seccomp;

use crate::PrivilegesError;

/// The usual calls, without a look at their arguments.
const PLAIN: &[(&str, &[c_long])] = &[
    ("packets and encoders' connections", PACKETS),
    ("sleeping and waking", WAITING),
    ("certificate, group ids, later workspaces, logs", FILES),
    ("memory", MEMORY),
    ("threads and their end", THREADS),
    ("clocks, random, signals", REST),
];

const PACKETS: &[c_long] = &[
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendto,
    // On rings that were made before; what each of them may do is restricted in the kernel.
    libc::SYS_io_uring_enter,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
];

const WAITING: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    // Only rings that are there already; what a filter cannot see is what these may be asked for (ARCHITECTURE.md).
    libc::SYS_io_uring_enter,
    // The executor, before it sleeps.
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
];

const FILES: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fcntl,
];

const MEMORY: &[c_long] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Sorting a large array asks how much memory there is.
    libc::SYS_sysinfo,
    // The allocator looks once how many NUMA nodes there are, and on which one a thread runs.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_getcpu,
];

const THREADS: &[c_long] = &[
    // Answered with ENOSYS by a filter of its own: see `no_clone3`.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const REST: &[c_long] = &[
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
];

/// Installs the filter in every thread; it cannot be taken away again. `Off` does nothing.
pub fn confine(wish: Seccomp) -> Result<(), PrivilegesError> {
    let refused = match wish {
        Seccomp::Kill => SeccompAction::KillProcess,
        Seccomp::Log => SeccompAction::Log,
        Seccomp::Off => return Ok(()),
    };
    let install = || -> Result<(), Box<dyn std::error::Error>> {
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        // First, as the second one allows no further filter.
        apply_filter_all_threads(&no_clone3(arch)?)?;
        apply_filter_all_threads(&allow_list(refused, arch)?)?;
        Ok(())
    };
    install().map_err(|error| PrivilegesError::Seccomp(error.to_string()))
}

/// The flags of clone3 lie in memory, where a filter cannot look; without it the C library starts threads by clone.
fn no_clone3(arch: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch)?.try_into()
}

fn allow_list(refused: SeccompAction, arch: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        PLAIN.iter().flat_map(|(_, calls)| calls.iter()).map(|call| (*call, Vec::new())).collect();
    rules.extend(guarded()?);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

/// Calls that are allowed with some arguments only.
fn guarded() -> Result<Vec<(c_long, Vec<SeccompRule>)>, seccompiler::BackendError> {
    let exec = libc::PROT_EXEC.unsigned_abs().into();
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    let own_process = std::process::id().into();
    // bpf(2) commands.
    let (map_lookup, link_detach) = (1, 34);
    let set_name_of_mapping = 0x5356_4d41;
    Ok(vec![
        // No code but the program's own.
        (libc::SYS_mmap, vec![rule(2, SeccompCmpOp::MaskedEq(exec), 0)?]),
        (libc::SYS_mprotect, vec![rule(2, SeccompCmpOp::MaskedEq(exec), 0)?]),
        // Threads, no processes.
        (libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]),
        // Names of threads and of the allocator's mappings.
        (
            libc::SYS_prctl,
            vec![
                rule(0, SeccompCmpOp::Eq, libc::PR_SET_NAME.unsigned_abs().into())?,
                rule(0, SeccompCmpOp::Eq, set_name_of_mapping)?,
            ],
        ),
        // abort() signals its own process.
        (libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, own_process)?]),
        // The packet program's counters, and its end; the descriptors are there already.
        (libc::SYS_bpf, vec![rule(0, SeccompCmpOp::Eq, map_lookup)?, rule(0, SeccompCmpOp::Eq, link_detach)?]),
        // A connection that does not block.
        (libc::SYS_ioctl, vec![rule(1, SeccompCmpOp::Eq, libc::FIONBIO)?, rule(1, SeccompCmpOp::Eq, libc::TCGETS)?]),
        // A thread reads its stack's limit and sets none.
        (libc::SYS_prlimit64, vec![wide_rule(2, 0)?]),
    ])
}

fn rule(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?])
}

/// For a pointer, all of whose bits count.
fn wide_rule(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)?])
}
