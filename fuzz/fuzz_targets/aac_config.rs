//! AAC's AudioSpecificConfig.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("aac_config", streams_media::fuzzing::aac_config);
