-- How scores are measured, and what was measured once and need not be again.

CREATE TABLE protocol (
    id     TEXT PRIMARY KEY,                 -- SHA-256
    metric TEXT NOT NULL,                    -- as FD (fashion-cnn)
    detail TEXT NOT NULL,                    -- JSON
    floor  REAL                              -- the metric between real images; NULL: not defined
) STRICT, WITHOUT ROWID;

CREATE TABLE result (
    subject  TEXT NOT NULL,                  -- SHA-256 of the checkpoint or data set measured
    protocol TEXT NOT NULL REFERENCES protocol (id),
    value    TEXT NOT NULL,                  -- JSON
    created  INTEGER NOT NULL,
    PRIMARY KEY (subject, protocol)
) STRICT;
