//! One file a command: its flags, what it asks, how the answer is told.

pub mod configure;
pub mod doctor;
pub mod drain;
pub mod kick;
pub mod live;
pub mod monitor;
pub mod play;
pub mod playback;
pub mod publish;
pub mod signing;
pub mod tune;
