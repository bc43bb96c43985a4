//! Fragmented MP4: init segments and chunks.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("fmp4", streams_media::fuzzing::fmp4);
