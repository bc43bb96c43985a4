//! `streams drain`

use std::time::Duration;

use serde_json::json;
use streams_operator::text::field;

use super::live::resource;
use crate::client::Client;
use crate::output::Output;
use crate::{Error, parse_duration};

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
