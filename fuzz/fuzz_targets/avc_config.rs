//! H.264's decoder configuration record.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("avc_config", streams_media::fuzzing::avc_config);
