//! Which core a thread runs on, so that what is measured and what measures do not share one.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

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
        let allowed = sched_getaffinity(None).map_err(|error| failed("read")(error.into()))?;
        Ok(Self::of((0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core))))
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
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).map_err(|error| failed("set")(error.into()))
}

fn failed(action: &'static str) -> impl FnOnce(std::io::Error) -> BenchError {
    BenchError::file(action, "the cores of this thread".as_ref())
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
