//! SRT datagrams, each behind its length: to the front, to a session, and what media they hold.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("srt", streams_ingest::fuzzing::srt);
