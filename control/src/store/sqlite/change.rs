//! Changes, each inside a transaction of the caller's.

use sqlx::SqliteConnection;

use super::ALL_SHARDS;
use crate::Error;
use crate::store::{Change, LiveInput, Receipt, SigningKey, TunedRow};

/// Makes a change.
pub(super) async fn make(connection: &mut SqliteConnection, change: &Change) -> Result<(), Error> {
    match change {
        Change::PutLiveInput(input) => put_live_input(connection, input).await,
        Change::DeleteLiveInput { org, id } => {
            let delete = sqlx::query("DELETE FROM live_inputs WHERE org = $1 AND id = $2").bind(org).bind(id);
            delete.execute(connection).await?;
            Ok(())
        }
        Change::PutSigningKey(key) => put_signing_key(connection, key).await,
        Change::DeleteSigningKey { org, id } => {
            let delete = sqlx::query("DELETE FROM signing_keys WHERE org = $1 AND id = $2").bind(org).bind(id);
            delete.execute(connection).await?;
            Ok(())
        }
        Change::SetTunable(row) => set_tunable(connection, row).await,
    }
}

/// Keeps the answer of a reserved request, or frees its key.
pub(super) async fn keep(connection: &mut SqliteConnection, receipt: &Receipt) -> Result<(), Error> {
    let Receipt { org, key, answer } = receipt;
    let query = match answer {
        Some(answer) => {
            sqlx::query("UPDATE idempotency SET status = $3, body_sealed = $4 WHERE org = $1 AND request_key = $2")
                .bind(org)
                .bind(key)
                .bind(answer.status)
                .bind(&answer.body_sealed)
        }
        None => sqlx::query("DELETE FROM idempotency WHERE org = $1 AND request_key = $2").bind(org).bind(key),
    };
    query.execute(connection).await?;
    Ok(())
}

async fn put_live_input(connection: &mut SqliteConnection, input: &LiveInput) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO live_inputs (id, org, name, ingest, enabled, reconnect_window_s, meta, srt_passphrase_sealed, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, ingest = excluded.ingest, enabled = excluded.enabled, \
         reconnect_window_s = excluded.reconnect_window_s, meta = excluded.meta, updated_at = excluded.updated_at",
    )
    .bind(&input.id)
    .bind(&input.org)
    .bind(&input.name)
    .bind(&input.ingest)
    .bind(input.enabled)
    .bind(input.reconnect_window_s)
    .bind(&input.meta)
    .bind(&input.srt_passphrase_sealed)
    .bind(input.created_at)
    .bind(input.updated_at)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM stream_keys WHERE input = $1").bind(&input.id).execute(&mut *connection).await?;
    for key in &input.keys {
        sqlx::query("INSERT INTO stream_keys (sha256, input, created_at, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(&key.sha256)
            .bind(&input.id)
            .bind(key.created_at)
            .bind(key.expires_at)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn put_signing_key(connection: &mut SqliteConnection, key: &SigningKey) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO signing_keys (id, org, alg, public_key_pem, custody, private_sealed, created_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (id) DO UPDATE SET revoked_at = excluded.revoked_at",
    )
    .bind(&key.id)
    .bind(&key.org)
    .bind(&key.alg)
    .bind(&key.public_key_pem)
    .bind(&key.custody)
    .bind(&key.private_sealed)
    .bind(key.created_at)
    .bind(key.revoked_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_tunable(connection: &mut SqliteConnection, row: &TunedRow) -> Result<(), Error> {
    let shard = row.shard.and_then(|shard| i64::try_from(shard).ok()).unwrap_or(ALL_SHARDS);
    let change = match row.value.map(i64::try_from) {
        Some(value) => sqlx::query(
            "INSERT INTO tunables (shard, name, value) VALUES ($1, $2, $3) \
             ON CONFLICT (shard, name) DO UPDATE SET value = excluded.value",
        )
        .bind(shard)
        .bind(&row.name)
        .bind(value.unwrap_or(i64::MAX)),
        None => sqlx::query("DELETE FROM tunables WHERE shard = $1 AND name = $2").bind(shard).bind(&row.name),
    };
    change.execute(connection).await?;
    Ok(())
}
