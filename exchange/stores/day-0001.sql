-- The history of one day's messages; $n is the day. Rows are only ever inserted; retention drops the tables.

CREATE TABLE message_$n (
    id INTEGER PRIMARY KEY,             -- (day << 40) + running number
    at INTEGER NOT NULL,                -- when it was received
    endpoint INTEGER NOT NULL,          -- name: where it came in
    party INTEGER NOT NULL,             -- name: whose endpoint that is
    name TEXT NOT NULL,                 -- the parcel's name
    headers TEXT,                       -- the parcel's headers, JSON
    size INTEGER NOT NULL,              -- bytes of payload
    digest BLOB NOT NULL,               -- SHA-256 of the payload
    dictionary INTEGER,                 -- that the body is compressed with; 0: not compressed; empty: a file
    body BLOB                           -- payload, zstd; empty: payloads/<day>/<id>
);

CREATE TABLE envelope_$n (
    message INTEGER PRIMARY KEY,        -- one row for each message that could be read
    type INTEGER NOT NULL,              -- name: its message type
    sender INTEGER NOT NULL,            -- name: the party that sent it
    own_id TEXT NOT NULL,               -- the sender's id of the message
    facts TEXT NOT NULL                 -- JSON: version, documents with keys, fields, answers, causes
);

CREATE TABLE planned_$n (
    id INTEGER PRIMARY KEY,             -- (message << 8) + number: one row for each delivery ever decided
    endpoint INTEGER NOT NULL,          -- name: where to
    party INTEGER NOT NULL,             -- name: whose endpoint that is
    type INTEGER NOT NULL,              -- name: the type of the bytes that travel
    disposition TEXT NOT NULL,          -- message, receipt, accepted or rejected
    refers_to INTEGER NOT NULL,         -- the message that a receipt answers; 0: none
    keys TEXT,                          -- JSON list of business keys whose order must be kept
    documents INTEGER NOT NULL,         -- documents that need a terminal receipt; 0: none is expected
    patience INTEGER,                   -- microseconds after delivery until a missing receipt is an alarm
    size INTEGER NOT NULL,              -- bytes to send
    name TEXT,                          -- the name that frozen bytes travel under; empty: the message's own bytes
    dictionary INTEGER,                 -- as in message, of the frozen bytes
    body BLOB                           -- as in message; empty with a name: payloads/<day>/<id>.<number>
);

CREATE TABLE event_$n (
    message INTEGER NOT NULL,           -- the message, of this day, that something happened to
    seq INTEGER NOT NULL,               -- running number over all events
    at INTEGER NOT NULL,                -- when
    event INTEGER NOT NULL,             -- what: a step of exchange/lifecycle.py, or a note
    number INTEGER,                     -- the delivery concerned; empty: the message
    actor INTEGER NOT NULL,             -- name: who; "switch" for the switch itself
    detail TEXT,                        -- JSON: code, texts, route, receipt and so on
    PRIMARY KEY (message, seq)
) WITHOUT ROWID;

CREATE TABLE outgoing_$n (
    endpoint INTEGER NOT NULL,          -- name: where something was delivered on this day
    seq INTEGER NOT NULL,               -- the event of the delivery: grows, never comes twice
    delivery INTEGER NOT NULL,          -- what was delivered
    PRIMARY KEY (endpoint, seq)
) WITHOUT ROWID;
