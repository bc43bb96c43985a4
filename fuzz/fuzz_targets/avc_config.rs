//! H.264's decoder configuration record.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("avc_config", streams_ingest::fuzzing::avc_config);
