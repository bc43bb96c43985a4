//! `streams tune …`

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use streams_operator::text::field;
use streams_operator::tune::{effective, list, settled};

use super::live::resource;
use crate::Error;
use crate::client::Client;
use crate::output::Output;

/// Shards take a live setting over within their housekeeping of 50 ms; this is what a loaded machine may need.
const LIVE_PATIENCE: Duration = Duration::from_secs(2);
/// How often is asked meanwhile.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub enum Tune {
    /// Show settings: what each shard runs with, range, unit, meaning
    Get {
        /// One setting [default: all]
        key: Option<String>,
    },
    /// Change a setting; it is kept over restarts
    Set {
        /// What to set; KEY=default takes a setting back
        #[arg(value_name = "KEY=VALUE")]
        assignment: String,
        /// For one shard only; wins over what is set for all
        #[arg(long, value_name = "N")]
        shard: Option<u64>,
    },
}

pub async fn run(client: &Client, command: Tune, output: &Output) -> Result<(), Error> {
    match command {
        Tune::Get { key } => get(client, key.as_deref(), output).await,
        Tune::Set { assignment, shard } => set(client, &assignment, shard, output).await,
    }
}

async fn get(client: &Client, key: Option<&str>, output: &Output) -> Result<(), Error> {
    let tunables = match key {
        Some(key) => vec![one(client, key).await?],
        None => all(client).await?,
    };
    output.show(&json!({ "tunables": tunables }), || list(&tunables))
}

async fn set(client: &Client, assignment: &str, shard: Option<u64>, output: &Output) -> Result<(), Error> {
    let no_assignment =
        || Error::Usage(format!("`{assignment}` sets nothing; write KEY=VALUE, for example recv_batch=32"));
    let (key, value) = assignment.split_once('=').ok_or_else(no_assignment)?;
    let (key, value) = (key.trim(), value.trim());
    let body = json!({ "key": key, "value": value, "shard": shard });
    let mut tunable = resource(client.post("/v1/tunables", &body).await?);
    let deadline = tokio::time::Instant::now() + LIVE_PATIENCE;
    while !settled(&tunable, value, shard) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        tunable = one(client, key).await?;
    }
    output.show(&tunable, || {
        let note = match field(&tunable, "changes").as_str() {
            "live" if effective(&tunable).is_empty() => "No engine runs; the next one starts with it.\n",
            "live" => "",
            _ => "The engine takes it over when it starts the next time.\n",
        };
        format!("{}{note}", list(std::slice::from_ref(&tunable)))
    })
}

async fn all(client: &Client) -> Result<Vec<Value>, Error> {
    match resource(client.get("/v1/tunables").await?) {
        Value::Array(tunables) => Ok(tunables),
        _ => Ok(Vec::new()),
    }
}

async fn one(client: &Client, key: &str) -> Result<Value, Error> {
    let tunables = all(client).await?;
    let known = tunables.iter().map(|tunable| field(tunable, "key")).collect::<Vec<_>>().join(", ");
    let found = tunables.into_iter().find(|tunable| field(tunable, "key") == key);
    found.ok_or_else(|| Error::Usage(format!("there is no tunable `{key}`; the keys are {known}")))
}
