//! What one RTMP connection may make the server hold.

/// Bounds of one connection. The defaults suit an encoder of up to about 50 Mbit/s.
#[derive(Debug, Clone)]
pub struct RtmpLimits {
    /// Bytes a client may send before `publish`: the handshake is 3073, connect and its siblings a few hundred each.
    pub before_publish_len_max: usize,
    /// Messages a client may send before `publish`: encoders send about ten.
    pub before_publish_messages_max: usize,
    /// Bytes held back while a publish request waits for its answer.
    pub held_len_max: usize,
    /// Bytes of messages whose chunks are still coming, over all chunk streams, by their declared lengths. A media message may
    /// have 8 MiB, any other 64 KiB.
    pub in_progress_len_max: usize,
    /// Bytes of replies outside of acknowledgements. An encoder needs about 4 KiB with the handshake.
    pub reply_len_max: usize,
    /// Events that may wait to be polled.
    pub events_max: usize,
    /// Bytes of a stream key.
    pub stream_key_len_max: usize,
}

impl Default for RtmpLimits {
    fn default() -> Self {
        Self {
            before_publish_len_max: 64 * 1024,
            before_publish_messages_max: 128,
            held_len_max: 1024 * 1024,
            in_progress_len_max: 16 * 1024 * 1024,
            reply_len_max: 64 * 1024,
            events_max: 4096,
            stream_key_len_max: 512,
        }
    }
}
