//! Settings of the shards.

use streams_contract::Tunable;

use super::{Plan, Refusal, Resources};
use crate::Error;
use crate::program::Tuned;
use crate::store::{Change, TunedRow};

/// What takes a setting back.
pub const DEFAULT: &str = "default";

impl Resources {
    /// What the shards are tuned to, and what they run with.
    pub fn tuned(&self) -> Tuned {
        self.program.tuned()
    }

    /// Sets the value of a key, for one shard or for all.
    pub async fn set_tunable(&self, key: &str, value: &str, shard: Option<u64>) -> Result<Tunable, Error> {
        let tunable = Tunable::from_name(key).map_err(Refusal::Tunable)?;
        let value = match value {
            DEFAULT => None,
            text => Some(tunable.parse(text).map_err(Refusal::Tunable)?),
        };
        let shard = shard.map(|shard| self.known_shard(shard)).transpose()?;
        let row = |value| Change::SetTunable(TunedRow { shard, name: key.to_owned(), value });
        let mut turn = self.turn().await?;
        let rows = self.store.tunables().await?;
        let before = rows.into_iter().find(|row| row.shard == shard && row.name == key).and_then(|row| row.value);
        let plan = Plan { change: row(value), before: row(before), receipt: None, command: None };
        self.make(&mut turn, plan).await?;
        Ok(tunable)
    }

    fn known_shard(&self, shard: u64) -> Result<usize, Refusal> {
        let shards = self.program.tuned().shards.len();
        let known = usize::try_from(shard).ok().filter(|shard| *shard < shards);
        known.ok_or(Refusal::Shard { last: shards.saturating_sub(1) })
    }
}
