//! Encoders at a shard: who may be there ([`admission`], [`door`]), what is the same for all of them ([`encoder`]), and what each
//! protocol does ([`rtmp`]).

pub(crate) mod admission;
pub(crate) mod door;
pub(crate) mod encoder;
pub(crate) mod rtmp;
