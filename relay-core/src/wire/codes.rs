//! Code points that end a session, refuse a request, end a subscription or reset a stream (draft-18 §15.10).

use std::fmt;

/// Defines an open code space: known names plus the numbers we do not know, which must never be fatal.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A number without a name here; treated like an internal error.
            Unknown(u64),
        }

        impl $name {
            /// Every code that has a name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code with this number.
            pub const fn from_u64(value: u64) -> Self {
                match value {
                    $($value => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }

            /// The number on the wire.
            pub const fn to_u64(self) -> u64 {
                match self {
                    $(Self::$variant => $value,)+
                    Self::Unknown(other) => other,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($text),)+
                    Self::Unknown(other) => write!(f, "code {other:#x}"),
                }
            }
        }
    };
}

codes! {
    /// Why a session ends (draft-18 §3.5 Termination).
    SessionError {
        /// Ended on purpose.
        NoError = 0x0, "NO_ERROR";
        /// A fault on this side.
        Internal = 0x1, "INTERNAL_ERROR";
        /// The client may not have a session.
        Unauthorized = 0x2, "UNAUTHORIZED";
        /// The peer broke a rule.
        ProtocolViolation = 0x3, "PROTOCOL_VIOLATION";
        /// Wrong parity, or used twice.
        InvalidRequestId = 0x4, "INVALID_REQUEST_ID";
        /// A Track Alias that is in use for another track.
        DuplicateTrackAlias = 0x5, "DUPLICATE_TRACK_ALIAS";
        /// A key-value pair whose value is not of its key's form.
        KeyValueFormatting = 0x6, "KEY_VALUE_FORMATTING_ERROR";
        /// PATH from a server, on WebTransport, or unsupported.
        InvalidPath = 0x8, "INVALID_PATH";
        /// PATH is no URI path.
        MalformedPath = 0x9, "MALFORMED_PATH";
        /// The peer did not leave in time after GOAWAY.
        GoawayTimeout = 0x10, "GOAWAY_TIMEOUT";
        /// The peer did not answer a control message in time.
        ControlMessageTimeout = 0x11, "CONTROL_MESSAGE_TIMEOUT";
        /// The peer did not go on with a data stream in time.
        DataStreamTimeout = 0x12, "DATA_STREAM_TIMEOUT";
        /// Registered tokens exceed MAX_AUTH_TOKEN_CACHE_SIZE.
        AuthTokenCacheOverflow = 0x13, "AUTH_TOKEN_CACHE_OVERFLOW";
        /// A token alias registered twice.
        DuplicateAuthTokenAlias = 0x14, "DUPLICATE_AUTH_TOKEN_ALIAS";
        /// No common version.
        VersionNegotiationFailed = 0x15, "VERSION_NEGOTIATION_FAILED";
        /// A token that cannot be read.
        MalformedAuthToken = 0x16, "MALFORMED_AUTH_TOKEN";
        /// A token alias that is not registered.
        UnknownAuthTokenAlias = 0x17, "UNKNOWN_AUTH_TOKEN_ALIAS";
        /// The token has expired.
        ExpiredAuthToken = 0x18, "EXPIRED_AUTH_TOKEN";
        /// AUTHORITY from a server, on WebTransport, or not ours.
        InvalidAuthority = 0x19, "INVALID_AUTHORITY";
        /// AUTHORITY is no URI authority.
        MalformedAuthority = 0x1A, "MALFORMED_AUTHORITY";
    }
}

codes! {
    /// Why a request is refused (draft-18 §10.6 REQUEST_ERROR).
    RequestErrorCode {
        /// A fault on the responder's side.
        Internal = 0x0, "INTERNAL_ERROR";
        /// Not allowed.
        Unauthorized = 0x1, "UNAUTHORIZED";
        /// Could not be completed in time.
        Timeout = 0x2, "TIMEOUT";
        /// The responder does not know this kind of request.
        NotSupported = 0x3, "NOT_SUPPORTED";
        /// A token that cannot be read.
        MalformedAuthToken = 0x4, "MALFORMED_AUTH_TOKEN";
        /// The token has expired.
        ExpiredAuthToken = 0x5, "EXPIRED_AUTH_TOKEN";
        /// The responder is leaving.
        GoingAway = 0x6, "GOING_AWAY";
        /// The responder has too much to do; see the retry interval.
        ExcessiveLoad = 0x9, "EXCESSIVE_LOAD";
        /// No such track or namespace here.
        DoesNotExist = 0x10, "DOES_NOT_EXIST";
        /// The filter or range cannot be met.
        InvalidRange = 0x11, "INVALID_RANGE";
        /// The track breaks the object model.
        MalformedTrack = 0x12, "MALFORMED_TRACK";
        /// A second subscription to one track.
        DuplicateSubscription = 0x19, "DUPLICATE_SUBSCRIPTION";
        /// The subscriber does not want this track or namespace.
        Uninterested = 0x20, "UNINTERESTED";
        /// The prefix overlaps another one of the session.
        PrefixOverlap = 0x30, "PREFIX_OVERLAP";
        /// The prefix matches too many publishers.
        NamespaceTooLarge = 0x31, "NAMESPACE_TOO_LARGE";
        /// A joining FETCH that names no subscription.
        InvalidJoiningRequestId = 0x32, "INVALID_JOINING_REQUEST_ID";
        /// A mandatory track property that the responder does not understand.
        UnsupportedExtension = 0x33, "UNSUPPORTED_EXTENSION";
        /// Ask elsewhere; the message says where.
        Redirect = 0x34, "REDIRECT";
    }
}

codes! {
    /// Why a subscription ends (draft-18 §10.11 PUBLISH_DONE).
    PublishDoneCode {
        /// A fault on the publisher's side.
        Internal = 0x0, "INTERNAL_ERROR";
        /// The subscriber is no longer allowed.
        Unauthorized = 0x1, "UNAUTHORIZED";
        /// The track is over.
        TrackEnded = 0x2, "TRACK_ENDED";
        /// The end of the filter was reached.
        SubscriptionEnded = 0x3, "SUBSCRIPTION_ENDED";
        /// One side is leaving.
        GoingAway = 0x4, "GOING_AWAY";
        /// The subscriber does not keep up.
        TooFarBehind = 0x5, "TOO_FAR_BEHIND";
        /// EXPIRES was reached.
        Expired = 0x6, "EXPIRED";
        /// A REQUEST_UPDATE failed.
        UpdateFailed = 0x8, "UPDATE_FAILED";
        /// The publisher has too much to do.
        ExcessiveLoad = 0x9, "EXCESSIVE_LOAD";
        /// The track breaks the object model.
        MalformedTrack = 0x12, "MALFORMED_TRACK";
    }
}

codes! {
    /// Why a stream is reset or stopped (draft-18 §3.3.3).
    StreamResetCode {
        /// A fault on this side.
        Internal = 0x0, "INTERNAL_ERROR";
        /// No longer wanted.
        Cancelled = 0x1, "CANCELLED";
        /// A delivery timeout passed.
        DeliveryTimeout = 0x2, "DELIVERY_TIMEOUT";
        /// The session is closing.
        SessionClosed = 0x3, "SESSION_CLOSED";
        /// This side is leaving.
        GoingAway = 0x4, "GOING_AWAY";
        /// The subscription does not keep up.
        TooFarBehind = 0x5, "TOO_FAR_BEHIND";
        /// A FETCH came to an object of unknown status.
        UnknownObjectStatus = 0x6, "UNKNOWN_OBJECT_STATUS";
        /// The token of the request has expired.
        ExpiredAuthToken = 0x7, "EXPIRED_AUTH_TOKEN";
        /// This side has too much to do.
        ExcessiveLoad = 0x9, "EXCESSIVE_LOAD";
        /// The track breaks the object model.
        MalformedTrack = 0x12, "MALFORMED_TRACK";
    }
}
