//! What loading the two programs has in common.

use std::sync::Once;

use libbpf_rs::{AsRawLibbpf, ErrorKind, OpenProgramMut, libbpf_sys};

use crate::error::XdpError;
use crate::steering::Steering;

/// The verifier's log of our programs takes some 100 KiB at most; older kernels fail when it does not fit.
const VERIFIER_LOG_LEN: usize = 1 << 20;

/// Keeps libbpf from writing to stderr: every failure comes back as an error, with the verifier's log inside.
pub(crate) fn silence_libbpf() {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        libbpf_rs::set_print(None);
    });
}

/// The key as two little-endian words, as SipHash reads it.
pub(crate) fn key_words(steering: &Steering) -> (u64, u64) {
    let key = u128::from_le_bytes(steering.cid_mask_key);
    (key as u64, (key >> 64) as u64)
}

/// Where the kernel writes why it refused a program.
pub(crate) struct VerifierLog {
    program: &'static str,
    buffer: Box<[u8]>,
}

impl VerifierLog {
    /// Has to live until the program is loaded or refused.
    pub(crate) fn keep(program: &'static str, open: &mut OpenProgramMut<'_>) -> Result<Self, XdpError> {
        let mut buffer = vec![0u8; VERIFIER_LOG_LEN].into_boxed_slice();
        // SAFETY: `open` is a program of an object that is not yet loaded. The buffer is on the heap, does not move with the
        // struct, and outlives the load by this function's contract; libbpf only writes to it while it loads.
        let result = unsafe {
            libbpf_sys::bpf_program__set_log_buf(
                open.as_libbpf_object().as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len() as libbpf_sys::size_t,
            )
        };
        if result != 0 {
            return Err(XdpError::Load { program, source: libbpf_rs::Error::from_raw_os_error(-result) });
        }
        Ok(Self { program, buffer })
    }

    /// Says why loading failed with `source`.
    pub(crate) fn explain(self, source: libbpf_rs::Error) -> XdpError {
        let len = self.buffer.iter().position(|&byte| byte == 0).unwrap_or(self.buffer.len());
        let log = String::from_utf8_lossy(self.buffer.get(..len).unwrap_or_default()).into_owned();
        // Without CAP_PERFMON the verifier forbids the difference of two packet pointers, and says so.
        if log.contains("for !root") {
            return XdpError::NoRights;
        }
        // The verifier says something before anything that it refuses; without CAP_BPF the kernel never asks it.
        if let Some(reason) = refusal(&log) {
            return XdpError::Verifier { program: self.program, reason: reason.to_owned(), log };
        }
        match source.kind() {
            ErrorKind::PermissionDenied => XdpError::NoRights,
            _ => XdpError::Load { program: self.program, source },
        }
    }
}

/// The last line before the statistics.
fn refusal(log: &str) -> Option<&str> {
    let statistics = ["processed ", "verification time ", "stack depth "];
    log.lines().rev().find(|line| !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start)))
}
