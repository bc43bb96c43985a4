//! Which objects of a track a subscription wants (draft-18 §5.1.2).

use super::cursor::{Cursor, complete};
use super::name::Location;
use super::{Draft, vi64};
use crate::error::{DecodeError, Error, Malformed};

const WHAT: &str = "SUBSCRIPTION_FILTER";

/// The range of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscriptionFilter {
    /// From the group after the largest one.
    NextGroupStart,
    /// From the object after the largest one.
    LargestObject,
    /// From this place on.
    AbsoluteStart(Location),
    /// From a place to the end of a group.
    AbsoluteRange {
        /// The first place.
        start: Location,
        /// The last group, included; at least the group of `start`.
        end_group: u64,
    },
}

impl SubscriptionFilter {
    pub(crate) fn encode(&self, draft: Draft, out: &mut Vec<u8>) -> Result<(), Error> {
        let Draft::D18 = draft;
        match *self {
            Self::NextGroupStart => vi64::encode(1, out),
            Self::LargestObject => vi64::encode(2, out),
            Self::AbsoluteStart(start) => {
                vi64::encode(3, out);
                start.encode(out);
            }
            Self::AbsoluteRange { start, end_group } => {
                let reason = "the end group lies before the start";
                let delta = end_group.checked_sub(start.group).ok_or(Error::Invalid { what: "filter", reason })?;
                vi64::encode(4, out);
                start.encode(out);
                vi64::encode(delta, out);
            }
        }
        Ok(())
    }

    /// Reads the filter that fills `data`.
    pub(crate) fn decode(draft: Draft, data: &[u8]) -> Result<Self, Malformed> {
        let Draft::D18 = draft;
        let mut cursor = Cursor::new(data);
        let filter = complete(Self::fields(&mut cursor), Malformed::key_value(WHAT, "shorter than its fields"))?;
        if !cursor.is_empty() {
            return Err(Malformed::key_value(WHAT, "bytes after its fields"));
        }
        Ok(filter)
    }

    fn fields(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.vi64()? {
            1 => Ok(Self::NextGroupStart),
            2 => Ok(Self::LargestObject),
            3 => Ok(Self::AbsoluteStart(Location::decode(cursor)?)),
            4 => {
                let start = Location::decode(cursor)?;
                let too_far = Malformed::violation(WHAT, "end group above 2^64 - 1");
                let end_group = start.group.checked_add(cursor.vi64()?).ok_or(too_far)?;
                Ok(Self::AbsoluteRange { start, end_group })
            }
            _ => Err(Malformed::violation(WHAT, "filter type is not 1 to 4").into()),
        }
    }
}
