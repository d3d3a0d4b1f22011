-- Stages of answers with a deadline of their own; $n is the day.

-- name: the stages before the last word, "port=60.0 customs=1800.0"; empty: none
ALTER TABLE planned_$n ADD COLUMN stages INTEGER;
