//! `streams drain`

use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::live::resource;
use super::output::{Output, field};
use super::parse_duration;
use crate::Error;

#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// Time that sessions have to leave
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
}

pub async fn run(client: &Client, args: DrainArgs, output: &Output) -> Result<(), Error> {
    let answer = resource(client.post("/v1/drain", &json!({ "timeout_seconds": args.timeout.as_secs() })).await?);
    output.show(&answer, || format!("Draining: sessions have until {}.\n", field(&answer, "deadline")))
}
