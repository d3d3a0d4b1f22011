-- Stages of answers with a deadline of their own. From here on delivery.deadline is that of the next stage, and empty
-- once nothing more is waited for; what is missing stands in told and heard. (Comments stand above the columns: SQLite
-- keeps what follows ADD COLUMN as it is written, and reads it again.)

-- name: the stages before the last word, "port=60.0 customs=1800.0"; empty: none
ALTER TABLE delivery ADD COLUMN stages INTEGER;

-- stages that have come, counted from the first
ALTER TABLE delivery ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;

-- stages that need no alarm any more, the last word included
ALTER TABLE delivery ADD COLUMN told INTEGER NOT NULL DEFAULT 0;

UPDATE delivery SET told = 1, deadline = NULL WHERE deadline < 0;

CREATE INDEX delivery_missing ON delivery (party) WHERE told > heard;

CREATE TABLE heard (
    delivery INTEGER NOT NULL,          -- an open delivery with stages and several documents,
    document INTEGER NOT NULL,          -- one of them,
    stages INTEGER NOT NULL,            -- and how many stages have come for it
    PRIMARY KEY (delivery, document)
) WITHOUT ROWID;
