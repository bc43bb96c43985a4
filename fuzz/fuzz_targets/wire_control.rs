//! MoQT control messages.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("wire_control", streams_relay_core::fuzzing::wire_control);
