//! `streams signing-key …`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use streams_operator::text::{field, pairs, table};

use super::live::{all, resource, segment};
use crate::Error;
use crate::client::Client;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum Signing {
    /// Make a key pair and print its private half, once; or import a public key
    Create {
        /// Signature algorithm
        #[arg(long, default_value = "EdDSA", value_parser = ["EdDSA", "RS256"])]
        alg: String,
        /// Import this public key (PEM file) instead of making a pair
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
    /// List signing keys
    List,
    /// Revoke a signing key and cut the sessions its tokens opened
    Revoke {
        /// `key_…`
        id: String,
    },
}

pub async fn run(client: &Client, command: Signing, output: &Output) -> Result<(), Error> {
    match command {
        Signing::Create { alg, public_key } => {
            let mut body = json!({ "alg": alg });
            if let Some(file) = public_key {
                body["public_key_pem"] = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?.into();
            }
            let key = resource(client.post("/v1/signing-keys", &body).await?);
            output.show(&key, || created(&key))
        }
        Signing::List => {
            let keys = all(client, "/v1/signing-keys").await?;
            output.show(&json!({ "data": keys }), || {
                if keys.is_empty() {
                    return "No signing keys yet. `streams playback-url` makes the server's own on first use.\n"
                        .to_owned();
                }
                let row = |key: &Value| {
                    ["id", "alg", "status", "custody", "created_at"].map(|name| field(key, name)).to_vec()
                };
                table(&["ID", "ALG", "STATUS", "HELD BY", "CREATED"], &keys.iter().map(row).collect::<Vec<_>>())
            })
        }
        Signing::Revoke { id } => {
            client.delete(&format!("/v1/signing-keys/{}", segment(&id))).await?;
            let text = format!("Revoked {id}. Sessions that its tokens opened are cut.\n");
            output.show(&json!({ "id": id, "status": "revoked" }), || text)
        }
    }
}

fn created(key: &Value) -> String {
    let shown = pairs(&[("kid", field(key, "kid")), ("iss", field(key, "org")), ("alg", field(key, "alg"))]);
    match field(key, "private_key_pem") {
        private if private.is_empty() => format!("Imported a public key.\n\n{shown}"),
        private => format!(
            "Made a signing key.\n\n{shown}\n{private}\nThe private key is shown only this once and is not kept here. Sign playback \
             tokens with it:\nheader kid as above; claims iss, sub (the lv_… id), aud \"playback\", iat, exp.\n"
        ),
    }
}
