//! Whether a track still comes.

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
