//! Decoder configuration records of H.265, AV1 and VP9.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("video_config", streams_media::fuzzing::video_config);
