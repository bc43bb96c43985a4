//! A relay with two sessions that do as they please.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("relay_session", streams_relay_core::fuzzing::relay_session);
