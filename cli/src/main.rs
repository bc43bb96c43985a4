//! The `streams` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    streams_cli::main()
}
