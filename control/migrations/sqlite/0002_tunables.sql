-- What `streams tune set` keeps: written into shared memory again when control starts. shard: -1 for all shards.
CREATE TABLE tunables (
    shard BIGINT NOT NULL,
    name  TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (shard, name)
);
