-- Signing keys, and the changes to them that two persons agree on. Text in states: exchange/signing/keyring.py and
-- exchange/register.py say which.

CREATE TABLE signing_key (
    name TEXT NOT NULL,                 -- the logical key, as parties and routes call it
    number INTEGER NOT NULL,            -- of the version, counted from 1; none is used twice
    kind TEXT NOT NULL,                 -- rsa, p256 or sm2
    certificate BLOB NOT NULL,          -- X.509, DER
    places TEXT NOT NULL,               -- JSON: device -> where on it
    not_before INTEGER NOT NULL,        -- when it may begin to sign
    not_after INTEGER NOT NULL,         -- when it must have ended
    state TEXT NOT NULL,                -- pending, active, retiring or revoked
    change INTEGER NOT NULL,            -- signing_change: what made it what it is
    PRIMARY KEY (name, number)
);

CREATE TABLE signing_change (
    number INTEGER PRIMARY KEY,         -- grows by one
    kind TEXT NOT NULL,                 -- key-create, key-activate, software-keys ...
    subject TEXT NOT NULL,              -- the key, the version, or the section of switchd.yaml
    digest TEXT NOT NULL,               -- SHA-256 of what, hexadecimal
    actor TEXT NOT NULL,                -- who asked for it
    reason TEXT NOT NULL,               -- why
    at INTEGER NOT NULL,                -- when
    state TEXT NOT NULL,                -- submitted, approved or rejected
    decided_by TEXT NOT NULL,           -- who decided; the actor himself only where dual control was off; empty: nobody
    remark TEXT NOT NULL,               -- why so
    decided_at INTEGER NOT NULL,        -- when; 0: not yet
    what BLOB NOT NULL                  -- the rows, or the section, as JSON: zstd
);

CREATE TRIGGER signing_change_is_decided_once BEFORE UPDATE ON signing_change WHEN old.state <> 'submitted'
BEGIN SELECT raise(ABORT, 'a change that was decided is never changed'); END;

CREATE TRIGGER signing_change_stays BEFORE DELETE ON signing_change
BEGIN SELECT raise(ABORT, 'no change is ever removed'); END;

CREATE TRIGGER signing_key_stays BEFORE DELETE ON signing_key
BEGIN SELECT raise(ABORT, 'no version of a key is ever removed'); END;

CREATE TRIGGER signing_key_stays_revoked BEFORE INSERT ON signing_key
WHEN new.state <> 'revoked' AND EXISTS
(SELECT 1 FROM signing_key WHERE name = new.name AND number = new.number AND state = 'revoked')
BEGIN SELECT raise(ABORT, 'a revoked key never comes back'); END;
