-- Times are Unix milliseconds. Secrets are kept as SHA-256 (what we only compare) or sealed with the data directory's
-- key file (what we must read again).

CREATE TABLE orgs (
    id         TEXT PRIMARY KEY NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    org        TEXT NOT NULL REFERENCES orgs (id),
    sha256     TEXT NOT NULL UNIQUE,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE live_inputs (
    id                    TEXT PRIMARY KEY NOT NULL,
    org                   TEXT NOT NULL REFERENCES orgs (id),
    name                  TEXT NOT NULL,
    ingest                TEXT NOT NULL,
    enabled               BIGINT NOT NULL,
    reconnect_window_s    BIGINT NOT NULL,
    meta                  TEXT NOT NULL,
    srt_passphrase_sealed TEXT NOT NULL,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL
);
CREATE INDEX live_inputs_of_org ON live_inputs (org, id);

-- An input has one key without an end, and those of past rotations until their grace is over.
CREATE TABLE stream_keys (
    sha256     TEXT PRIMARY KEY NOT NULL,
    input      TEXT NOT NULL REFERENCES live_inputs (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX stream_keys_of_input ON stream_keys (input);

-- custody: 'customer' (only the public half is here) or 'server' (private half sealed).
CREATE TABLE signing_keys (
    id             TEXT PRIMARY KEY NOT NULL,
    org            TEXT NOT NULL REFERENCES orgs (id),
    alg            TEXT NOT NULL,
    public_key_pem TEXT NOT NULL,
    custody        TEXT NOT NULL,
    private_sealed TEXT,
    created_at     BIGINT NOT NULL,
    revoked_at     BIGINT
);
CREATE INDEX signing_keys_of_org ON signing_keys (org, id);

-- Answers to requests with an Idempotency-Key. body_sealed is null while the first request is still at work.
CREATE TABLE idempotency (
    org         TEXT NOT NULL,
    request_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status      BIGINT,
    body_sealed TEXT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (org, request_key)
);
