-- Runs and what they recorded. Times are microseconds since 1970, UTC.

CREATE TABLE run (
    id          TEXT PRIMARY KEY,            -- ULID, so that two databases can be merged
    key         TEXT NOT NULL,               -- ddpm.Key: the same work has the same key
    attempt     INTEGER NOT NULL,            -- counts the runs with this key, from 1
    name        TEXT NOT NULL,               -- of the variant, as DDPM-IP
    preset      TEXT NOT NULL,
    data        TEXT NOT NULL,
    data_sha256 TEXT NOT NULL,
    seed        INTEGER NOT NULL,            -- the bits of a uint64
    config      TEXT NOT NULL,               -- ddpm.Config as JSON
    variant     TEXT NOT NULL,               -- ddpm.Variant as JSON
    status      TEXT NOT NULL,               -- running finished interrupted crashed failed diverged
    step        INTEGER NOT NULL DEFAULT 0,  -- training steps done
    started     INTEGER NOT NULL,
    finished    INTEGER,
    error       TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX run_key ON run (key, attempt);
CREATE INDEX run_running ON run (id) WHERE status = 'running';

-- One row for each time a process worked on a run: its start, and every resumption.
CREATE TABLE session (
    run         TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,            -- from 1
    from_step   INTEGER NOT NULL,            -- 0, or the step of the checkpoint resumed from
    started     INTEGER NOT NULL,
    heartbeat   INTEGER NOT NULL,            -- written every few seconds while it works
    pid         INTEGER NOT NULL,
    born        INTEGER NOT NULL,            -- the process's start, so that a reused pid is noticed
    boot        TEXT NOT NULL,               -- of the machine, so that a restart is noticed
    host        TEXT NOT NULL,
    commit_id   TEXT NOT NULL,
    dirty       INTEGER NOT NULL,
    device      TEXT NOT NULL,               -- with instruction set and threads
    environment TEXT NOT NULL,               -- JSON: versions, processor, build
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

-- Config and variant once more, one row a field, for queries.
CREATE TABLE param (
    run   TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    name  TEXT NOT NULL,
    kind  TEXT NOT NULL,                     -- int float bool string json
    value ANY,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    key      TEXT NOT NULL,                  -- as loss
    context  TEXT NOT NULL DEFAULT '',
    protocol TEXT NOT NULL DEFAULT '',       -- of a score, else ''
    UNIQUE (run, key, context, protocol)
) STRICT;

CREATE TABLE point (
    series INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    step   INTEGER NOT NULL,
    time   INTEGER NOT NULL,
    value  REAL,                             -- NULL: NaN, which SQLite does not keep
    PRIMARY KEY (series, step)
) STRICT, WITHOUT ROWID;
