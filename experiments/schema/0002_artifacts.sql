-- Bytes, known by their SHA-256. Small ones lie here, large ones in the store folder
-- beside the database.

CREATE TABLE artifact (
    sha256  TEXT PRIMARY KEY,
    size    INTEGER NOT NULL,
    body    BLOB,                            -- NULL: a file in the store folder
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE run_artifact (
    run     TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,                   -- as checkpoint
    step    INTEGER NOT NULL,
    sha256  TEXT NOT NULL REFERENCES artifact (sha256),
    created INTEGER NOT NULL,
    PRIMARY KEY (run, name, step)
) STRICT, WITHOUT ROWID;
