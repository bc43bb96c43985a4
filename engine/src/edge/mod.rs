//! TCP listeners of a shard: who may be there ([`admission`], [`door`]), and what each protocol does ([`rtmp`]).

pub(crate) mod admission;
pub(crate) mod door;
pub(crate) mod rtmp;
