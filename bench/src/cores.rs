//! Which core a thread runs on, so that what is measured and what measures do not share one.

use std::io;

use core_affinity::CoreId;

use crate::error::BenchError;

/// Two cores that this process may use: one for what is measured, one for what loads it. The same one twice on a machine that has
/// no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// For what is measured.
    pub measured: usize,
    /// For what loads it.
    pub load: usize,
}

impl Pair {
    /// The first two.
    ///
    /// # Errors
    /// [`BenchError::File`] when the kernel does not tell.
    pub fn find() -> Result<Self, BenchError> {
        let allowed = core_affinity::get_core_ids().ok_or_else(|| failed("read"))?;
        Ok(Self::of(allowed.into_iter().map(|core| core.id)))
    }

    fn of(mut cores: impl Iterator<Item = usize>) -> Self {
        let measured = cores.next().unwrap_or_default();
        Self { measured, load: cores.next().unwrap_or(measured) }
    }

    /// Whether there were two.
    pub fn apart(self) -> bool {
        self.measured != self.load
    }
}

/// Keeps this thread, and what it starts from now on, on one core.
///
/// # Errors
/// [`BenchError::File`] when the core is not there any more.
pub fn pin(core: usize) -> Result<(), BenchError> {
    if core_affinity::set_for_current(CoreId { id: core }) { Ok(()) } else { Err(failed("set")) }
}

/// The kernel has just said why.
fn failed(action: &'static str) -> BenchError {
    BenchError::file(action, "the cores of this thread".as_ref())(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_taken_twice() {
        assert_eq!(Pair::of([3].into_iter()), Pair { measured: 3, load: 3 });
        let two = Pair::of([1, 4, 6].into_iter());
        assert_eq!((two, two.apart()), (Pair { measured: 1, load: 4 }, true));
    }

    #[test]
    fn a_pinned_thread_has_one_core() {
        let pinned = std::thread::spawn(|| {
            let Pair { load, .. } = Pair::find().unwrap();
            pin(load).unwrap();
            (load, Pair::find().unwrap())
        });
        let (load, found) = pinned.join().unwrap();
        assert_eq!(found, Pair { measured: load, load });
    }
}
