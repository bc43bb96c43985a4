//! Capsules over the DATA frames of a WebTransport session.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("capsules", streams_engine::fuzzing::capsules);
