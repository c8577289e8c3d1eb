-- Sweeps: trainings that were planned together, and which process works on which.

CREATE TABLE sweep (
    name    TEXT PRIMARY KEY,
    axes    TEXT NOT NULL,                   -- JSON: names of the fields that vary, in order
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE trial (
    sweep     TEXT NOT NULL REFERENCES sweep (name) ON DELETE CASCADE,
    number    INTEGER NOT NULL,              -- from 1, in the order of work
    fields    TEXT NOT NULL,                 -- JSON: what each of the axes is here, as text
    config    TEXT NOT NULL,                 -- ddpm.Config as JSON
    variant   TEXT NOT NULL,                 -- ddpm.Variant as JSON, normal form
    run       TEXT NOT NULL DEFAULT '',      -- what it came to; '' while that is found by config and variant
    error     TEXT NOT NULL DEFAULT '',      -- why it could not be trained
    pid       INTEGER,                       -- the process that works on it; NULL: none
    born      INTEGER NOT NULL DEFAULT 0,    -- the process's start
    boot      TEXT NOT NULL DEFAULT '',      -- of its machine
    host      TEXT NOT NULL DEFAULT '',
    heartbeat INTEGER NOT NULL DEFAULT 0,    -- written every few seconds while it works
    PRIMARY KEY (sweep, number)
) STRICT, WITHOUT ROWID;
