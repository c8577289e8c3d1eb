-- What people say about runs.

CREATE TABLE tag (
    run   TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE note (
    run  TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    time INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, time)
) STRICT, WITHOUT ROWID;
