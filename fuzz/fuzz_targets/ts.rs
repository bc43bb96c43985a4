//! MPEG transport streams, by the whole way to chunks.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("ts", streams_ingest::fuzzing::ts);
