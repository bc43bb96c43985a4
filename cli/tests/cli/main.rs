//! The `streams` command as a person runs it: one binary, a file a subject.

mod command;
mod operator;
mod scratch;
