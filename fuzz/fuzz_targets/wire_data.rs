//! MoQT data streams and datagrams.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("wire_data", streams_relay_core::fuzzing::wire_data);
