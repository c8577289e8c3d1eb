-- What papers report. Filled from reference/*.csv.

CREATE TABLE reference (
    paper   TEXT NOT NULL,
    number  INTEGER NOT NULL,                -- of the table
    model   TEXT NOT NULL,
    dataset TEXT NOT NULL,
    steps   INTEGER NOT NULL,                -- sampling steps
    metric  TEXT NOT NULL,                   -- fid sfid l1
    value   REAL NOT NULL,
    line    INTEGER NOT NULL,                -- place in the table
    PRIMARY KEY (paper, number, model, dataset, steps, metric)
) STRICT, WITHOUT ROWID;
