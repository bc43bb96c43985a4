//! Catalogs: read, written, and read again.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("catalog", streams_media::fuzzing::catalog);
