//! Whether a track still comes, and whether viewers can join it.

/// Media time of the other track after which a silent one counts as gone. Longer than the pauses of encoders that send a picture
/// now and then; shorter than a viewer waits for a player that starts with all tracks or none.
const SILENCE_US_MAX: i64 = 5_000_000;
/// Media time that one unit counts for: a gap in both tracks is nobody's silence.
const STEP_US_MAX: i64 = 200_000;

/// One kind of media in the encoder's present connection.
#[derive(Debug, Default)]
pub struct Presence {
    seen: bool,
    /// Media time of the other kind since the last unit of this one.
    silence_us: i64,
}

impl Presence {
    /// A unit of this kind came, whether usable or not.
    pub fn unit(&mut self) {
        (self.seen, self.silence_us) = (true, 0);
    }

    /// The broadcast's time moved on without one.
    pub fn others(&mut self, step_us: i64) {
        self.silence_us = self.silence_us.saturating_add(step_us.clamp(0, STEP_US_MAX));
    }

    /// A unit of this kind came in this connection.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// It does not come, or no more. `announced` is the encoder's word on whether it sends it.
    pub fn is_gone(&self, announced: Option<bool>) -> bool {
        self.silence_us >= SILENCE_US_MAX || (!self.seen && announced == Some(false))
    }
}

/// How long the video of the present connection has gone on without a picture that a decoder can start at.
#[derive(Debug, Default)]
pub struct Starts {
    /// Time of the last start, or of the first frame when there was none, and of the newest frame.
    span_unix_ms: Option<(u64, u64)>,
}

impl Starts {
    /// A frame came.
    pub fn frame(&mut self, unix_ms: u64, is_start: bool) {
        let from_unix_ms = self.span_unix_ms.filter(|_| !is_start).map_or(unix_ms, |(from, _)| from);
        self.span_unix_ms = Some((from_unix_ms, unix_ms));
    }

    /// Time from the last start to the newest frame, in milliseconds; 0 without a frame.
    pub fn without_ms(&self) -> u64 {
        self.span_unix_ms.map_or(0, |(from, newest)| newest.saturating_sub(from))
    }
}
