-- Every value that messages of one week can be found by; $n is the week. Keys are random: without the
-- partition, and without inserting them sorted, this index would cost more with every message stored.

CREATE TABLE key_$n (
    hash INTEGER NOT NULL,              -- of the value, 63 bits; a hit is checked against the envelope
    message INTEGER NOT NULL,           -- that carries it
    PRIMARY KEY (hash, message)
) WITHOUT ROWID;
