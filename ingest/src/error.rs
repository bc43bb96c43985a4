//! What can go wrong with an encoder's bytes.

use rtmp_runtime::RtmpError;
use scuffle_flv::error::FlvError;
use streams_media::MediaError;

/// Why an ingest session was refused or ended. The message is meant for the operator and, where the protocol can carry it, for
/// the person at the encoder. After an error the session is over: write the reply bytes, then close the connection.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The handshake was not RTMP, or an answer cannot be written.
    #[error("not acceptable as RTMP: {0}")]
    Rtmp(#[from] RtmpError),
    /// The chunk stream cannot be read.
    #[error("not acceptable as RTMP: {what}")]
    Chunk {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Too many chunk streams on one connection.
    #[error("more than {count_max} chunk streams were opened; this is no encoder")]
    ChunkStreams {
        /// The limit.
        count_max: usize,
    },
    /// A message is longer than its kind may be.
    #[error("a message of type {kind} and {len} bytes was begun, the limit is {len_max}; send smaller ones")]
    MessageLen {
        /// RTMP message type id.
        kind: u8,
        /// Its declared length in bytes.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// Too much was begun and not finished.
    #[error("messages of {len} bytes were begun at once, the limit is {len_max}; finish one before the next")]
    InProgress {
        /// Declared bytes of the messages under way.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// A command cannot be read or cannot be done now.
    #[error("not acceptable as RTMP: {what}")]
    Command {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The client said much and never published.
    #[error("{count} messages came before publish, the limit is {count_max}; this is no encoder")]
    MessagesBeforePublish {
        /// Messages so far.
        count: usize,
        /// The limit.
        count_max: usize,
    },
    /// The client sent much and never published.
    #[error("{len} bytes came before publish, the limit is {len_max}; this is no encoder")]
    BeforePublish {
        /// Bytes received so far.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// More media than the bound came while the stream key was still being checked.
    #[error("{len} bytes came while the stream key was being checked, the limit is {len_max}; connect again")]
    Held {
        /// Bytes held back.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// Replies were provoked beyond any need of an encoder.
    #[error("replies of {len} bytes were asked for, the limit is {len_max}; this is no encoder")]
    Replies {
        /// Bytes of replies so far.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// Too many events wait to be polled.
    #[error("{len} media messages wait in one read, the limit is {len_max}; send larger messages")]
    Events {
        /// Events waiting.
        len: usize,
        /// The limit.
        len_max: usize,
    },
    /// The stream key is longer than any key this server gives out.
    #[error("stream key of {len} bytes exceeds the limit of {len_max}")]
    StreamKey {
        /// Length of the key in bytes.
        len: usize,
        /// The limit in bytes.
        len_max: usize,
    },
    /// A video codec this server does not take.
    #[error("video codec {codec} is not supported; send {taken}")]
    VideoCodec {
        /// The codec's name, with its FourCC or number.
        codec: String,
        /// What the protocol takes.
        taken: &'static str,
    },
    /// An audio codec this server does not take.
    #[error("audio codec {codec} is not supported; send {taken}")]
    AudioCodec {
        /// The codec's name, with its FourCC or number.
        codec: String,
        /// What the protocol takes.
        taken: &'static str,
    },
    /// A sequence header that cannot be used.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A media tag cut short or otherwise not FLV.
    #[error("media tag is malformed: {0}")]
    Flv(#[from] FlvError),
    /// The stream key check said no.
    #[error("publish was rejected: {reason}")]
    Rejected {
        /// What the client was told.
        reason: String,
    },
    /// `accept` or `reject` without a publish request that waits for it.
    #[error("no publish request is waiting for an answer")]
    NotWaiting,
    /// ICE, DTLS or RTP cannot go on.
    #[error("the WebRTC connection ended: {what}")]
    Webrtc {
        /// Why.
        what: String,
    },
    /// A WebRTC peer was answered and did not connect.
    #[error("no WebRTC connection within {after_s} s; let UDP pass between the encoder and [ports] webrtc")]
    NotConnected {
        /// The limit in seconds.
        after_s: u64,
    },
    /// The encoder encrypts by another passphrase than the input's, or the input has none.
    #[error("the SRT passphrase is wrong; use the one that was made with the live input, or none")]
    Passphrase,
    /// A peer over datagrams says nothing more.
    #[error("nothing came for {after_s} s")]
    Silent {
        /// The limit in seconds.
        after_s: u64,
    },
    /// The TLS around it cannot go on.
    #[error("not acceptable as TLS: {what}")]
    Tls {
        /// Why.
        what: String,
    },
    /// Data after the end of the session.
    #[error("the session is over")]
    Closed,
}
