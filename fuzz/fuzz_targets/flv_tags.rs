//! FLV tags of every kind, plain and enhanced.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("flv_tags", streams_ingest::fuzzing::flv_tags);
