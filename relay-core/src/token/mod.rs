//! Playback tokens: signed claims that let a viewer watch one resource for a while.
