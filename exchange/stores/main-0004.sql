-- Jobs of the remote signing API: what is to be signed waits here, and what came of it is kept to be told again.

CREATE TABLE signing_job (
    number INTEGER PRIMARY KEY,         -- when it came (an instant), made unique; jobs are forgotten in this order
    client TEXT NOT NULL,               -- who asked; only they are told
    party TEXT NOT NULL,                -- for whom
    key TEXT NOT NULL,                  -- the client's Idempotency-Key; empty: none
    digest BLOB NOT NULL,               -- SHA-256 of the request, to tell a repetition from another request
    items INTEGER NOT NULL,             -- how many things were to be signed
    request BLOB,                       -- the request as it came, zstd; NULL once the job is finished
    answer BLOB                         -- the answer as it is told, zstd; NULL until the job is finished, then never changed
);

CREATE UNIQUE INDEX signing_job_key ON signing_job (client, key) WHERE key <> '';

CREATE INDEX signing_job_open ON signing_job (number) WHERE answer IS NULL;
