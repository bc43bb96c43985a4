//! An encoder's bytes: handshake, chunks, commands, media.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("rtmp_session", streams_ingest::fuzzing::rtmp_session);
