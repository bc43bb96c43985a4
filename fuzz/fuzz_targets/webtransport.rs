//! HTTP/3 and the WebTransport CONNECT.
#![cfg_attr(fuzzing, no_main)]

streams_fuzz::target!("webtransport", streams_engine::fuzzing::webtransport);
