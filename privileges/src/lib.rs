//! Giving rights up for good.
//!
//! ```text
//! engine:   set-up with rights ──▶ Account::share ──▶ Account::enter ──▶ seccomp::confine ──▶ threads start
//!           (sockets, programs)    files it needs     user, no caps      system calls
//! control:  drop_capabilities ──▶ everything else
//! launcher: adopt_run_dir, before either starts
//! ```
//!
//! What is given up here belongs to a thread, and threads inherit it: call these while the process has one thread.

mod account;
mod capabilities;
mod error;
mod folders;
pub mod seccomp;

pub use account::{Account, Stay, adopt_run_dir, configured_user};
pub use capabilities::drop_capabilities;
pub use error::PrivilegesError;
