//! The embedded store: SQLite in the data directory.

mod change;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteExecutor, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use super::{
    ApiKey, Begun, Change, Later, LiveInput, Page, Receipt, SigningKey, Store, StoredAnswer, StreamKey, TunedRow,
};
use crate::Error;

/// Connections: one writer at a time is SQLite's nature, a few readers beside it are plenty for an API.
const CONNECTIONS_MAX: u32 = 4;
/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The column `shard` of a setting for all shards.
const ALL_SHARDS: i64 = -1;
/// How long an answer is kept for its idempotency key.
const ANSWER_KEPT_MS: i64 = 24 * 3600 * 1000;
/// A reserved request that did not finish within this died with its process.
const AT_WORK_MS: i64 = 60 * 1000;

/// A store in one file.
#[derive(Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the database, makes it when it is missing, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .after_release(move |connection, _| Box::pin(sound(connection)))
            .connect_with(options)
            .await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self { pool })
    }

    async fn with_keys(&self, mut inputs: Vec<LiveInput>) -> Result<Vec<LiveInput>, Error> {
        for input in &mut inputs {
            input.keys = stream_keys(&self.pool, &input.id).await?;
        }
        Ok(inputs)
    }
}

/// Whether a connection may be used again. SQLite itself ends a transaction when the disk is full
/// (https://www.sqlite.org/lang_transaction.html) and sqlx does not see that: it would count everything that the connection does
/// later as parts of that transaction, which locks all others out.
async fn sound(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback that was only asked for is done before this is answered.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

impl Store for SqliteStore {
    fn change<'a>(&'a self, change: &'a Change, receipt: Option<&'a Receipt>) -> Later<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.pool.begin().await?;
            change::make(&mut transaction, change).await?;
            if let Some(receipt) = receipt {
                change::keep(&mut transaction, receipt).await?;
            }
            Ok(transaction.commit().await?)
        })
    }

    fn ping(&self) -> Later<'_, ()> {
        Box::pin(async {
            sqlx::query("SELECT 1").execute(&self.pool).await?;
            Ok(())
        })
    }

    fn first_org(&self) -> Later<'_, Option<String>> {
        Box::pin(async {
            let row = sqlx::query_scalar("SELECT id FROM orgs ORDER BY id LIMIT 1").fetch_optional(&self.pool);
            Ok(row.await?)
        })
    }

    fn add_org<'a>(&'a self, id: &'a str, now_ms: i64) -> Later<'a, ()> {
        Box::pin(async move {
            let insert = sqlx::query("INSERT INTO orgs (id, created_at) VALUES ($1, $2)").bind(id).bind(now_ms);
            insert.execute(&self.pool).await?;
            Ok(())
        })
    }

    fn add_api_key<'a>(&'a self, key: &'a ApiKey) -> Later<'a, ()> {
        Box::pin(async move {
            sqlx::query("INSERT INTO api_keys (id, org, sha256, scopes, created_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(&key.id)
                .bind(&key.org)
                .bind(&key.sha256)
                .bind(&key.scopes)
                .bind(key.created_at)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
    }

    fn api_key<'a>(&'a self, sha256: &'a str) -> Later<'a, Option<ApiKey>> {
        Box::pin(async move {
            let select = sqlx::query_as(
                "SELECT id, org, sha256, scopes, created_at FROM api_keys WHERE sha256 = $1 AND revoked_at IS NULL",
            );
            Ok(select.bind(sha256).fetch_optional(&self.pool).await?)
        })
    }

    fn live_input<'a>(&'a self, org: &'a str, id: &'a str) -> Later<'a, Option<LiveInput>> {
        Box::pin(async move {
            let select = sqlx::query_as("SELECT * FROM live_inputs WHERE org = $1 AND id = $2").bind(org).bind(id);
            let found = select.fetch_all(&self.pool).await?;
            Ok(self.with_keys(found).await?.pop())
        })
    }

    fn live_inputs<'a>(&'a self, org: &'a str, page: Page<'a>) -> Later<'a, Vec<LiveInput>> {
        Box::pin(async move {
            let select = sqlx::query_as(
                "SELECT * FROM live_inputs WHERE org = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
            );
            let found = select.bind(org).bind(page.before).bind(page.limit).fetch_all(&self.pool).await?;
            self.with_keys(found).await
        })
    }

    fn all_live_inputs(&self) -> Later<'_, Vec<LiveInput>> {
        Box::pin(async {
            let mut inputs: Vec<LiveInput> =
                sqlx::query_as("SELECT * FROM live_inputs ORDER BY id").fetch_all(&self.pool).await?;
            let keys: Vec<KeyOfInput> = sqlx::query_as(
                "SELECT input, sha256, created_at, expires_at FROM stream_keys ORDER BY created_at DESC, sha256",
            )
            .fetch_all(&self.pool)
            .await?;
            let mut by_input: HashMap<String, Vec<StreamKey>> = HashMap::new();
            for row in keys {
                by_input.entry(row.input).or_default().push(row.key);
            }
            for input in &mut inputs {
                input.keys = by_input.remove(&input.id).unwrap_or_default();
            }
            Ok(inputs)
        })
    }

    fn signing_key<'a>(&'a self, org: &'a str, id: &'a str) -> Later<'a, Option<SigningKey>> {
        Box::pin(async move {
            let select = sqlx::query_as("SELECT * FROM signing_keys WHERE org = $1 AND id = $2").bind(org).bind(id);
            Ok(select.fetch_optional(&self.pool).await?)
        })
    }

    fn signing_keys<'a>(&'a self, org: &'a str, page: Page<'a>) -> Later<'a, Vec<SigningKey>> {
        Box::pin(async move {
            let select = sqlx::query_as(
                "SELECT * FROM signing_keys WHERE org = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
            );
            Ok(select.bind(org).bind(page.before).bind(page.limit).fetch_all(&self.pool).await?)
        })
    }

    fn signing_keys_known_since(&self, since_ms: i64) -> Later<'_, Vec<SigningKey>> {
        Box::pin(async move {
            let select =
                sqlx::query_as("SELECT * FROM signing_keys WHERE revoked_at IS NULL OR revoked_at >= $1 ORDER BY id");
            Ok(select.bind(since_ms).fetch_all(&self.pool).await?)
        })
    }

    fn server_key<'a>(&'a self, org: &'a str) -> Later<'a, Option<SigningKey>> {
        Box::pin(async move {
            let select = sqlx::query_as(
                "SELECT * FROM signing_keys WHERE org = $1 AND custody = 'server' AND revoked_at IS NULL ORDER BY id DESC LIMIT 1",
            );
            Ok(select.bind(org).fetch_optional(&self.pool).await?)
        })
    }

    fn tunables(&self) -> Later<'_, Vec<TunedRow>> {
        Box::pin(async {
            let select = sqlx::query_as("SELECT shard, name, value FROM tunables ORDER BY shard, name");
            let rows: Vec<(i64, String, i64)> = select.fetch_all(&self.pool).await?;
            let row = |(shard, name, value)| TunedRow {
                shard: usize::try_from(shard).ok(),
                name,
                value: u64::try_from(value).ok(),
            };
            Ok(rows.into_iter().map(row).collect())
        })
    }

    fn begin_request<'a>(&'a self, org: &'a str, key: &'a str, fingerprint: &'a str, now_ms: i64) -> Later<'a, Begun> {
        Box::pin(async move {
            sqlx::query("DELETE FROM idempotency WHERE created_at < $1 OR (status IS NULL AND created_at < $2)")
                .bind(now_ms - ANSWER_KEPT_MS)
                .bind(now_ms - AT_WORK_MS)
                .execute(&self.pool)
                .await?;
            let insert = sqlx::query(
                "INSERT INTO idempotency (org, request_key, fingerprint, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (org, request_key) DO NOTHING",
            );
            let inserted = insert.bind(org).bind(key).bind(fingerprint).bind(now_ms).execute(&self.pool).await?;
            if inserted.rows_affected() > 0 {
                return Ok(Begun::First);
            }
            let select = sqlx::query_as(
                "SELECT fingerprint, status, body_sealed FROM idempotency WHERE org = $1 AND request_key = $2",
            );
            let found: Option<(String, Option<u16>, Option<String>)> =
                select.bind(org).bind(key).fetch_optional(&self.pool).await?;
            Ok(match found {
                Some((first, ..)) if first != fingerprint => Begun::Other,
                Some((_, Some(status), Some(body_sealed))) => Begun::Answered(StoredAnswer { status, body_sealed }),
                _ => Begun::AtWork,
            })
        })
    }

    fn abandon_request<'a>(&'a self, org: &'a str, key: &'a str) -> Later<'a, ()> {
        Box::pin(async move {
            let delete = sqlx::query("DELETE FROM idempotency WHERE org = $1 AND request_key = $2 AND status IS NULL");
            delete.bind(org).bind(key).execute(&self.pool).await?;
            Ok(())
        })
    }
}

#[derive(sqlx::FromRow)]
struct KeyOfInput {
    input: String,
    #[sqlx(flatten)]
    key: StreamKey,
}

/// The keys of an input, newest first.
async fn stream_keys(database: impl SqliteExecutor<'_>, input: &str) -> Result<Vec<StreamKey>, Error> {
    let select = sqlx::query_as(
        "SELECT sha256, created_at, expires_at FROM stream_keys WHERE input = $1 ORDER BY created_at DESC, sha256",
    );
    Ok(select.bind(input).fetch_all(database).await?)
}
