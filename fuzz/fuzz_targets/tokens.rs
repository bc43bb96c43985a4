//! Playback tokens, as they come and with any claims behind a good signature.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("tokens", streams_relay_core::fuzzing::tokens);
