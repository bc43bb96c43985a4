//! The clock that processes of one machine share.

/// Nanoseconds of `CLOCK_MONOTONIC`: heartbeats.
pub fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to. The clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.cast_unsigned())
}

/// Low 32 bits of `now_ns() / 1000`: timestamps of frags. They wrap every 71 minutes; take differences with `wrapping_sub`.
pub fn now_us() -> u32 {
    (now_ns() / 1_000) as u32
}
