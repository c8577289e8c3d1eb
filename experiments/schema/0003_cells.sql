-- The exact text of the notebook cells that led to a run.

CREATE TABLE cell (
    sha256 TEXT PRIMARY KEY,
    source TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE executed (
    run      TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    session  INTEGER NOT NULL,               -- the session of the run that it led to
    position INTEGER NOT NULL,               -- in order of execution; the last one started the session
    notebook TEXT NOT NULL,
    number   INTEGER NOT NULL,               -- execution count, 0 where not known
    cell     TEXT NOT NULL REFERENCES cell (sha256),
    PRIMARY KEY (run, session, position)
) STRICT, WITHOUT ROWID;
