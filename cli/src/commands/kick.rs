//! `streams kick SESSION`

use serde_json::json;
use streams_operator::text::field;

use super::live::resource;
use crate::Error;
use crate::client::Client;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub struct KickArgs {
    /// Number of the session, from the log of control (`session opened session=…`) or of the engine
    session: u64,
}

pub async fn run(client: &Client, args: KickArgs, output: &Output) -> Result<(), Error> {
    let path = format!("/v1/sessions/{}/kick", args.session);
    let answer = resource(client.post(&path, &json!({})).await?);
    output.show(&answer, || {
        format!(
            "Shard {} closes session {} if it is open; it may come back unless its token or key is revoked.\n",
            field(&answer, "shard"),
            field(&answer, "session")
        )
    })
}
