//! Message Parameters: the optional part of a request and of its answers (draft-18 §10.2).

use bytes::BufMut;

use super::auth_token::AuthToken;
use super::cursor::{Cursor, put_prefixed};
use super::filter::SubscriptionFilter;
use super::name::{Location, Namespace};
use super::{Draft, MessageType, vi64};
use crate::error::{DecodeError, Error, Malformed};

const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const RENDEZVOUS_TIMEOUT: u64 = 0x04;
const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
const EXPIRES: u64 = 0x08;
const LARGEST_OBJECT: u64 = 0x09;
const FILL_TIMEOUT: u64 = 0x0A;
const FORWARD: u64 = 0x10;
const SUBSCRIBER_PRIORITY: u64 = 0x20;
const SUBSCRIPTION_FILTER: u64 = 0x21;
const GROUP_ORDER: u64 = 0x22;
const NEW_GROUP_REQUEST: u64 = 0x32;
const TRACK_NAMESPACE_PREFIX: u64 = 0x34;

const WHAT: &str = "Message Parameter";

/// Priority of a subscription that names none (draft-18 §10.2.7).
pub const SUBSCRIBER_PRIORITY_DEFAULT: u8 = 128;

/// Order of groups in a fetch, or of their priority in a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum GroupOrder {
    /// Oldest first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// The parameters of one message; an absent one is `None` (or an empty list). Which message may carry which parameter is
/// checked on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// OBJECT_DELIVERY_TIMEOUT, ms.
    pub object_delivery_timeout_ms: Option<u64>,
    /// AUTHORIZATION_TOKEN, in the order they came.
    pub auth_tokens: Vec<AuthToken>,
    /// RENDEZVOUS_TIMEOUT, ms; absent means 0: do not wait for a publisher.
    pub rendezvous_timeout_ms: Option<u64>,
    /// SUBGROUP_DELIVERY_TIMEOUT, ms.
    pub subgroup_delivery_timeout_ms: Option<u64>,
    /// EXPIRES, ms from now; 0 or absent means no known end.
    pub expires_ms: Option<u64>,
    /// LARGEST_OBJECT; absent means that nothing was published yet.
    pub largest_object: Option<Location>,
    /// FILL_TIMEOUT, ms; 0 is "what you have at once".
    pub fill_timeout_ms: Option<u64>,
    /// FORWARD; absent means true, or unchanged in REQUEST_UPDATE.
    pub forward: Option<bool>,
    /// SUBSCRIBER_PRIORITY, 0 is the most urgent; absent means 128.
    pub subscriber_priority: Option<u8>,
    /// SUBSCRIPTION_FILTER; absent means everything, or unchanged in REQUEST_UPDATE.
    pub filter: Option<SubscriptionFilter>,
    /// GROUP_ORDER.
    pub group_order: Option<GroupOrder>,
    /// NEW_GROUP_REQUEST: the largest known group plus one, or 0.
    pub new_group_request: Option<u64>,
    /// TRACK_NAMESPACE_PREFIX.
    pub namespace_prefix: Option<Namespace>,
}

impl Parameters {
    /// Appends the count and the parameters in ascending order of their types.
    pub(crate) fn encode(&self, draft: Draft, message: MessageType, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut writer = ParameterWriter { message, previous: 0, count: 0, body: Vec::new() };
        writer.number(OBJECT_DELIVERY_TIMEOUT, self.object_delivery_timeout_ms)?;
        for token in &self.auth_tokens {
            let mut value = Vec::new();
            token.encode(&mut value);
            put_prefixed(&value, writer.begin(AUTHORIZATION_TOKEN)?);
        }
        writer.number(RENDEZVOUS_TIMEOUT, self.rendezvous_timeout_ms)?;
        writer.number(SUBGROUP_DELIVERY_TIMEOUT, self.subgroup_delivery_timeout_ms)?;
        writer.number(EXPIRES, self.expires_ms)?;
        if let Some(largest) = self.largest_object {
            largest.encode(writer.begin(LARGEST_OBJECT)?);
        }
        writer.number(FILL_TIMEOUT, self.fill_timeout_ms)?;
        writer.byte(FORWARD, self.forward.map(u8::from))?;
        writer.byte(SUBSCRIBER_PRIORITY, self.subscriber_priority)?;
        if let Some(filter) = &self.filter {
            let mut value = Vec::new();
            filter.encode(draft, &mut value)?;
            put_prefixed(&value, writer.begin(SUBSCRIPTION_FILTER)?);
        }
        let group_order = self.group_order.map(|order| match order {
            GroupOrder::Ascending => 1,
            GroupOrder::Descending => 2,
        });
        writer.byte(GROUP_ORDER, group_order)?;
        writer.number(NEW_GROUP_REQUEST, self.new_group_request)?;
        if let Some(prefix) = &self.namespace_prefix {
            prefix.encode(writer.begin(TRACK_NAMESPACE_PREFIX)?)?;
        }
        vi64::encode(writer.count, out);
        out.put_slice(&writer.body);
        Ok(())
    }

    pub(crate) fn decode(draft: Draft, message: MessageType, cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let count = cursor.vi64()?;
        let mut parameters = Self::default();
        let mut kind = 0u64;
        for index in 0..count {
            let delta = cursor.vi64()?;
            kind = kind.checked_add(delta).ok_or(Malformed::violation(WHAT, "type above 2^64 - 1"))?;
            let repeated = index > 0 && delta == 0;
            if repeated && kind != AUTHORIZATION_TOKEN {
                return Err(Malformed::violation(WHAT, "a type is repeated").into());
            }
            if !is_known(kind) {
                return Err(Malformed::violation(WHAT, "unknown type").into());
            }
            if !in_scope(kind, message) {
                return Err(Malformed::violation(WHAT, "not allowed in this message").into());
            }
            parameters.read(draft, kind, cursor)?;
        }
        Ok(parameters)
    }

    fn read(&mut self, draft: Draft, kind: u64, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        // The message's own length is the bound: no field of a control message can be longer.
        const TOO_LONG: Malformed = Malformed::violation(WHAT, "value longer than any message");
        let message_len_max = usize::from(u16::MAX);
        match kind {
            OBJECT_DELIVERY_TIMEOUT => self.object_delivery_timeout_ms = Some(cursor.vi64()?),
            AUTHORIZATION_TOKEN => {
                self.auth_tokens.push(AuthToken::decode(cursor.prefixed(message_len_max, TOO_LONG)?)?);
            }
            RENDEZVOUS_TIMEOUT => self.rendezvous_timeout_ms = Some(cursor.vi64()?),
            SUBGROUP_DELIVERY_TIMEOUT => self.subgroup_delivery_timeout_ms = Some(cursor.vi64()?),
            EXPIRES => self.expires_ms = Some(cursor.vi64()?),
            LARGEST_OBJECT => self.largest_object = Some(Location::decode(cursor)?),
            FILL_TIMEOUT => self.fill_timeout_ms = Some(cursor.vi64()?),
            FORWARD => self.forward = Some(forward(cursor.u8()?)?),
            SUBSCRIBER_PRIORITY => self.subscriber_priority = Some(cursor.u8()?),
            SUBSCRIPTION_FILTER => {
                let value = cursor.prefixed(message_len_max, TOO_LONG)?;
                self.filter = Some(SubscriptionFilter::decode(draft, value)?);
            }
            GROUP_ORDER => self.group_order = Some(group_order(cursor.u8()?)?),
            NEW_GROUP_REQUEST => self.new_group_request = Some(cursor.vi64()?),
            TRACK_NAMESPACE_PREFIX => self.namespace_prefix = Some(Namespace::decode(cursor)?),
            _ => return Err(Malformed::violation(WHAT, "unknown type").into()),
        }
        Ok(())
    }
}

fn forward(value: u8) -> Result<bool, Malformed> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::violation("FORWARD", "neither 0 nor 1")),
    }
}

fn group_order(value: u8) -> Result<GroupOrder, Malformed> {
    match value {
        1 => Ok(GroupOrder::Ascending),
        2 => Ok(GroupOrder::Descending),
        _ => Err(Malformed::violation("GROUP_ORDER", "neither 1 nor 2")),
    }
}

/// Collects parameters behind their deltas; the count goes in front of them.
struct ParameterWriter {
    message: MessageType,
    previous: u64,
    count: u64,
    body: Vec<u8>,
}

impl ParameterWriter {
    fn begin(&mut self, kind: u64) -> Result<&mut Vec<u8>, Error> {
        if !in_scope(kind, self.message) {
            return Err(Error::Invalid { what: "message parameter", reason: "not allowed in this message" });
        }
        vi64::encode(kind.saturating_sub(self.previous), &mut self.body);
        self.previous = kind;
        self.count += 1;
        Ok(&mut self.body)
    }

    fn number(&mut self, kind: u64, value: Option<u64>) -> Result<(), Error> {
        if let Some(value) = value {
            vi64::encode(value, self.begin(kind)?);
        }
        Ok(())
    }

    fn byte(&mut self, kind: u64, value: Option<u8>) -> Result<(), Error> {
        if let Some(value) = value {
            self.begin(kind)?.put_u8(value);
        }
        Ok(())
    }
}

fn is_known(kind: u64) -> bool {
    matches!(
        kind,
        OBJECT_DELIVERY_TIMEOUT
            | AUTHORIZATION_TOKEN
            | RENDEZVOUS_TIMEOUT
            | SUBGROUP_DELIVERY_TIMEOUT
            | EXPIRES
            | LARGEST_OBJECT
            | FILL_TIMEOUT
            | FORWARD
            | SUBSCRIBER_PRIORITY
            | SUBSCRIPTION_FILTER
            | GROUP_ORDER
            | NEW_GROUP_REQUEST
            | TRACK_NAMESPACE_PREFIX
    )
}

/// Whether the definition of a parameter (draft-18 §10.2.2 to §10.2.14) names this message. REQUEST_OK stands for the
/// answers to several requests; the session knows which one, so here it is the union of them.
fn in_scope(kind: u64, message: MessageType) -> bool {
    use MessageType as M;
    match kind {
        OBJECT_DELIVERY_TIMEOUT | SUBGROUP_DELIVERY_TIMEOUT | SUBSCRIPTION_FILTER | NEW_GROUP_REQUEST => {
            matches!(message, M::Subscribe | M::RequestOk | M::RequestUpdate)
        }
        AUTHORIZATION_TOKEN => matches!(
            message,
            M::Publish
                | M::Subscribe
                | M::RequestUpdate
                | M::SubscribeNamespace
                | M::SubscribeTracks
                | M::PublishNamespace
                | M::TrackStatus
                | M::Fetch
        ),
        RENDEZVOUS_TIMEOUT => message == M::Subscribe,
        EXPIRES | LARGEST_OBJECT => matches!(message, M::SubscribeOk | M::Publish | M::RequestOk),
        FILL_TIMEOUT => message == M::Fetch,
        FORWARD => {
            matches!(message, M::Subscribe | M::RequestUpdate | M::Publish | M::RequestOk | M::SubscribeTracks)
        }
        SUBSCRIBER_PRIORITY => matches!(message, M::Subscribe | M::Fetch | M::RequestUpdate | M::RequestOk),
        GROUP_ORDER => matches!(message, M::Subscribe | M::RequestOk | M::Fetch),
        TRACK_NAMESPACE_PREFIX => message == M::RequestUpdate,
        _ => false,
    }
}
