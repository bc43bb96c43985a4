//! The `streams` command.

fn main() -> std::process::ExitCode {
    streams_control::cli::main()
}
