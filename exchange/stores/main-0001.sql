-- What is not history: open work, settings, and the names that history refers to by number.
-- Instants are microseconds since the Unix epoch, UTC. States and events are numbered in exchange/stores/_words.py.

CREATE TABLE name (
    number INTEGER PRIMARY KEY,         -- stands for the text in every other table
    text TEXT NOT NULL UNIQUE           -- an endpoint, party, message type, route or actor
);

CREATE TABLE partition (
    kind TEXT NOT NULL,                 -- day (messages and their journal) or week (keys)
    number INTEGER NOT NULL,            -- days, or weeks, since the Unix epoch
    version INTEGER NOT NULL,           -- the newest migration that its tables went through
    PRIMARY KEY (kind, number)
) WITHOUT ROWID;

CREATE TABLE dictionary (
    number INTEGER PRIMARY KEY,         -- compressed bodies name it; a row is never changed or removed
    body BLOB NOT NULL                  -- raw content that zstd may refer to: sample messages
);

CREATE TABLE pending (
    message INTEGER PRIMARY KEY,        -- RECEIVED (not decided yet) or HELD
    state INTEGER NOT NULL,             -- RECEIVED or HELD
    tries INTEGER NOT NULL DEFAULT 0,   -- times a worker started to sort it alone, after a crash
    code TEXT NOT NULL DEFAULT '',      -- why it is held (SWX-nnnn), or 'parked'
    until INTEGER                       -- of a parked receipt: when it is held instead
);

CREATE TABLE parked (
    value INTEGER NOT NULL,             -- hash of a key value that the missing cause will carry
    message INTEGER NOT NULL,           -- the receipt that waits
    document INTEGER NOT NULL,          -- which of its records
    until INTEGER NOT NULL,             -- deadline of the waiting
    PRIMARY KEY (value, message, document)
) WITHOUT ROWID;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,             -- (message << 8) + number; only open deliveries are here
    endpoint INTEGER NOT NULL,          -- name: where to
    party INTEGER NOT NULL,             -- name: whose endpoint that is
    state INTEGER NOT NULL,             -- QUEUED, SENDING, HELD, FAILED, or DELIVERED and not answered yet
    attempts INTEGER NOT NULL,          -- made or being made
    unknown INTEGER NOT NULL,           -- of them: ended by the death of the worker
    queued_at INTEGER NOT NULL,         -- when it was decided
    due_at INTEGER NOT NULL,            -- when it may be tried (again)
    size INTEGER NOT NULL,              -- bytes to send
    counts INTEGER NOT NULL,            -- 1: the message ends when this does; 0: it has ended (rejected, duplicate)
    documents INTEGER NOT NULL,         -- documents that need a terminal receipt; 0: none is expected
    patience INTEGER,                   -- microseconds after delivery until a missing receipt is an alarm
    deadline INTEGER                    -- delivered_at + patience; negative once the alarm was raised
);

CREATE INDEX delivery_deadline ON delivery (deadline) WHERE deadline IS NOT NULL;

CREATE TABLE answered (
    delivery INTEGER NOT NULL,          -- an open delivery with several documents,
    document INTEGER NOT NULL,          -- and one that has its terminal receipt
    PRIMARY KEY (delivery, document)
) WITHOUT ROWID;

CREATE TABLE fresh_key (
    hash INTEGER NOT NULL,              -- of a key value, 63 bits
    message INTEGER NOT NULL,           -- that carries the value
    batch INTEGER NOT NULL              -- rows of one batch move to their key partition together, sorted
);

CREATE TABLE counter (
    name TEXT PRIMARY KEY,              -- seq: the events
    value INTEGER NOT NULL              -- everything below it may have been used
) WITHOUT ROWID;

CREATE TABLE hold (
    subject TEXT PRIMARY KEY,           -- party:CODE or endpoint:NAME
    state TEXT NOT NULL,                -- held
    actor TEXT NOT NULL,                -- who put it on hold
    reason TEXT NOT NULL,               -- why
    at INTEGER NOT NULL                 -- when
) WITHOUT ROWID;

CREATE TABLE operation (
    at INTEGER NOT NULL,                -- when an operator did something that concerns no single message
    actor TEXT NOT NULL,                -- who
    verb TEXT NOT NULL,                 -- what: hold, resume, publish, import ...
    subject TEXT NOT NULL,              -- to what
    reason TEXT NOT NULL                -- why
);

CREATE TABLE generation (
    number INTEGER PRIMARY KEY,         -- grows by one; the highest is in force
    at INTEGER NOT NULL,                -- when it was published
    actor TEXT NOT NULL,                -- by whom
    reason TEXT NOT NULL,               -- why
    digest TEXT NOT NULL,               -- SHA-256 of the text, hexadecimal
    text BLOB NOT NULL                  -- the routing table as written, zstd
);

CREATE TABLE party (
    code TEXT PRIMARY KEY,              -- parties beyond those in routes.yaml
    body BLOB NOT NULL                  -- the party as JSON, as imported
) WITHOUT ROWID;
