//! Fuzz targets, in the layout of `cargo fuzz`, and a driver that runs them on the stable toolchain.
//!
//! ```text
//!   corpus/<target>/*  --seed-->  mutate (a few edits, splices, or noise)  -->  target(bytes)
//!     (real captures)                                                             |-> panic, or slower than a second:
//!                                                                                 '   artifacts/<target>/<hash>, exit 1
//! ```
//!
//! `scripts/fuzz` builds and runs all of them. A run prints its seed; the same seed makes the same inputs in the same
//! order. Files given as arguments are run once each, as they are: that is how a finding is looked at again.

mod corpus;
mod driver;
mod mutate;
mod random;

pub use driver::{check, drive};

/// Makes a fuzz target of a function that takes `&[u8]`: for libFuzzer under `cargo fuzz`, else for the driver here.
#[macro_export]
macro_rules! target {
    ($name:literal, $function:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $function(bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::drive($name, $function)
        }
    };
}
