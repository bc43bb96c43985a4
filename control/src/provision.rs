//! What a data directory needs once: an organisation, an API key, and the credentials file of the command.

use crate::credentials::Credentials;
use crate::datadir::DataDir;
use crate::endpoints::Endpoints;
use crate::ids::{self, API_KEY_PREFIX};
use crate::store::{ApiKey, Store};
use crate::{Error, clock};

/// Makes what is missing. A credentials file whose key the database knows is kept, but for the API's address, which
/// follows the configuration.
pub async fn first_start(dir: &DataDir, store: &dyn Store, endpoints: &Endpoints) -> Result<(), Error> {
    let org = match store.first_org().await? {
        Some(org) => org,
        None => {
            let org = ids::new_id("org");
            store.add_org(&org, clock::unix_ms()).await?;
            tracing::info!(org, "made the organisation");
            org
        }
    };
    let api = endpoints.api();
    if let Some(known) = Credentials::read(dir)?
        && store.api_key(&known.key_sha256()).await?.is_some()
    {
        return if known.api == api { Ok(()) } else { Credentials { api, ..known }.write(dir) };
    }
    let credentials = Credentials { api, api_key: ids::new_secret(API_KEY_PREFIX)? };
    let key = ApiKey {
        id: ids::new_id("apikey"),
        org,
        sha256: credentials.key_sha256(),
        scopes: "admin".to_owned(),
        created_at: clock::unix_ms(),
    };
    store.add_api_key(&key).await?;
    credentials.write(dir)
}
