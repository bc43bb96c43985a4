//! Error codes of HTTP/3 (RFC 9114 §8.1), QPACK (RFC 9204 §6) and WebTransport (draft-ietf-webtrans-http3 §9.5).

/// The connection is done, and nothing was wrong.
pub(in crate::quic) const H3_NO_ERROR: u64 = 0x100;
/// Something here failed.
pub(super) const H3_INTERNAL_ERROR: u64 = 0x102;
/// A stream that may not be opened, or not twice.
pub(super) const H3_STREAM_CREATION_ERROR: u64 = 0x103;
/// A stream that has to stay open has ended.
pub(super) const H3_CLOSED_CRITICAL_STREAM: u64 = 0x104;
/// A frame where it may not be.
pub(super) const H3_FRAME_UNEXPECTED: u64 = 0x105;
/// A frame whose payload does not fit its layout.
pub(super) const H3_FRAME_ERROR: u64 = 0x106;
/// More than is kept of one peer.
pub(in crate::quic) const H3_EXCESSIVE_LOAD: u64 = 0x107;
/// An id that cannot be one.
pub(super) const H3_ID_ERROR: u64 = 0x108;
/// The control stream does not begin with SETTINGS.
pub(super) const H3_MISSING_SETTINGS: u64 = 0x10a;
/// A request that ended before it was whole.
pub(super) const H3_REQUEST_INCOMPLETE: u64 = 0x10d;
/// A request without what belongs in it.
pub(super) const H3_MESSAGE_ERROR: u64 = 0x10e;
/// A field section that does not decode.
pub(super) const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
/// WT_BUFFERED_STREAM_REJECTED: a stream of no session that we know.
pub(super) const BUFFERED_STREAM_REJECTED: u64 = 0x3994_bd84;
