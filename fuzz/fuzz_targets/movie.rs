//! MP4 files as a publisher reads them.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("movie", streams_media::fuzzing::movie);
