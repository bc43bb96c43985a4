//! The control process.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use streams_control::process::{ControlArgs, run};

fn main() -> ExitCode {
    let args = ControlArgs::parse();
    // Before there is a second thread, for rights are those of a thread. Control only attaches: it needs none.
    if let Err(error) = streams_privileges::drop_capabilities() {
        say(&error.to_string());
        return ExitCode::FAILURE;
    }
    // An engine that is another user may enter the data directory: what is not meant for it is closed by its own mode.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "control ends");
            say(&error.to_string());
            error.exit_code()
        }
    }
}

/// Nobody to tell when standard error is closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "streams-control: {line}");
}
