//! The control process.

use std::process::ExitCode;

use clap::Parser;
use streams_control::process::{ControlArgs, run};

fn main() -> ExitCode {
    let args = ControlArgs::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("streams-control: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "control ends");
            eprintln!("streams-control: {error}");
            error.exit_code()
        }
    }
}
