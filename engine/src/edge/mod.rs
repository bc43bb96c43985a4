//! TCP listeners of a shard.

pub(crate) mod rtmp;
