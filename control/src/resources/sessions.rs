//! Sessions of the shards. They come and go without asking control, so there is nothing of them in the database.

use streams_contract::Command;

use super::{Refusal, Resources};
use crate::{Error, clock};

/// The number of the shard stands in the highest byte of a session's.
const SHARD_SHIFT: u32 = 56;
/// Longest time that sessions may be given to leave.
pub(super) const DRAIN_S_MAX: u64 = 3600;

impl Resources {
    /// Closes one session and tells its shard. Whether there was such a session of the organisation is for the log to tell:
    /// the shard knows whose they are.
    pub fn kick(&self, org: &str, session: &str) -> Result<u64, Error> {
        let shards = self.program.engine().shards.len() as u64;
        let known = session.parse::<u64>().ok().filter(|number| number >> SHARD_SHIFT < shards);
        let number = known.ok_or_else(|| Refusal::UnknownSession(session.to_owned()))?;
        self.program.send(&Command::KickSession { session: number, org: Some(org.to_owned()) })?;
        Ok(number >> SHARD_SHIFT)
    }

    /// Lets the shards take nothing new and tells their sessions to leave. Answers the deadline, in Unix milliseconds.
    pub fn drain(&self, timeout_s: u64) -> Result<u64, Error> {
        if timeout_s > DRAIN_S_MAX {
            return Err(Refusal::DrainTimeout(timeout_s).into());
        }
        let deadline_ms = clock::unix_ms().unsigned_abs() + timeout_s * 1000;
        self.program.send(&Command::Drain { deadline_ms })?;
        Ok(deadline_ms)
    }
}
