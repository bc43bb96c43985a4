//! What encoders say of their own streams.

/// What the encoder says of its own stream (`onMetaData`). Everything is a hint; zero and nonsense values are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamMetadata {
    /// True, false: the encoder announces (no) video. `None`: it does not say.
    pub has_video: Option<bool>,
    /// The same for audio.
    pub has_audio: Option<bool>,
    /// Picture width in pixels.
    pub width: Option<u32>,
    /// Picture height in pixels.
    pub height: Option<u32>,
    /// Frames a second.
    pub framerate: Option<f64>,
    /// Video bits a second.
    pub video_bitrate: Option<u64>,
    /// Audio bits a second.
    pub audio_bitrate: Option<u64>,
    /// The encoder's name.
    pub encoder: Option<String>,
}
