//! Control through its real HTTP server, database and shared memory: one binary, a file a subject.

mod access;
mod engine;
mod engine_view;
mod idempotency;
mod live_inputs;
mod player_page;
mod process;
mod server;
mod signing_keys;
mod tokens;
mod tunables;
mod undone;
