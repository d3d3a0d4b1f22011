-- What was signed on one day; $n is the day. Rows are only ever inserted; retention drops the table.

CREATE TABLE signing_$n (
    number INTEGER PRIMARY KEY,         -- running number over all days, without gaps
    at INTEGER NOT NULL,                -- when it was signed, or wasn't
    job TEXT NOT NULL,                  -- the message's id as it is shown, or the number of a job of the remote API
    party INTEGER NOT NULL,             -- name: for whom
    profile INTEGER NOT NULL,           -- name: the profile and its version, name@version
    key INTEGER NOT NULL,               -- name: the key
    serial TEXT NOT NULL,               -- of the key's certificate, hexadecimal
    device INTEGER NOT NULL,            -- name: the device that signed; of the empty text: none
    digest BLOB NOT NULL,               -- SHA-256 of what was to be signed
    signature BLOB NOT NULL,            -- SHA-256 of the signature value; empty: there is none
    code TEXT NOT NULL,                 -- why it wasn't signed; empty: it was
    microseconds INTEGER NOT NULL,      -- that it took
    attempts INTEGER NOT NULL,          -- devices asked
    link BLOB NOT NULL                  -- SHA-256 over the link of the row before and the content: exchange/signinglog.py
);

CREATE TRIGGER signing_unchanged_$n BEFORE UPDATE ON signing_$n BEGIN SELECT RAISE(ABORT, 'the log is never changed'); END;

CREATE TRIGGER signing_kept_$n BEFORE DELETE ON signing_$n BEGIN SELECT RAISE(ABORT, 'the log is never changed'); END;
