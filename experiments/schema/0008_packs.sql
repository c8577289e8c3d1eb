-- A run that has ended for good keeps its long series packed, and what is asked of each
-- series most often beside it. The view point has all points, packed or not; its
-- function, unpack, is ddpmlab's: other programs see the rows alone.

ALTER TABLE point RENAME TO point_row;

CREATE TABLE point_pack (
    series INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    first  INTEGER NOT NULL,                 -- step of its first point
    last   INTEGER NOT NULL,                 -- step of its last point
    n      INTEGER NOT NULL,                 -- points
    body   BLOB NOT NULL,                    -- experiments/pack.go
    PRIMARY KEY (series, first)
) STRICT;

CREATE VIEW point (series, step, time, value) AS
    SELECT series, step, time, value FROM point_row
    UNION ALL
    SELECT series, json_extract(p.value, '$[0]'), json_extract(p.value, '$[1]'), json_extract(p.value, '$[2]')
    FROM point_pack, json_each(unpack(body)) AS p;

ALTER TABLE series ADD COLUMN n INTEGER;         -- points; NULL: the run may get more, and the others are NULL too
ALTER TABLE series ADD COLUMN head REAL;         -- the first value; NULL here and below: NaN, or none
ALTER TABLE series ADD COLUMN last REAL;         -- the last value
ALTER TABLE series ADD COLUMN last_step INTEGER;
ALTER TABLE series ADD COLUMN low REAL;
ALTER TABLE series ADD COLUMN high REAL;
ALTER TABLE series ADD COLUMN mean REAL;
ALTER TABLE series ADD COLUMN tail REAL;         -- mean of the last 100 values

CREATE INDEX series_open ON series (run) WHERE n IS NULL;

-- Figures that were shown or saved, and what they were drawn from.

CREATE TABLE figure (
    id      TEXT PRIMARY KEY,                -- SHA-256 of all the others but created
    kind    TEXT NOT NULL,                   -- as FDCurve
    args    TEXT NOT NULL,                   -- JSON: what else the kind was drawn with
    points  TEXT NOT NULL,                   -- SHA-256 of the numbers drawn
    picture TEXT NOT NULL,                   -- SHA-256 of the SVG
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE figure_run (
    figure   TEXT NOT NULL REFERENCES figure (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,               -- in the figure's order
    run      TEXT NOT NULL,                  -- not a reference: a figure outlives its runs, and says which are gone
    PRIMARY KEY (figure, position)
) STRICT, WITHOUT ROWID;

-- What papers say of their trainings (settings), and what authors publish beside their
-- papers (curves). Filled from reference/*.csv.

CREATE TABLE reference_setting (
    paper   TEXT NOT NULL,
    number  INTEGER NOT NULL,                -- of the table
    dataset TEXT NOT NULL,
    name    TEXT NOT NULL,                   -- as batch
    value   TEXT NOT NULL,
    PRIMARY KEY (paper, number, dataset, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE reference_curve (
    paper     TEXT NOT NULL,
    source    TEXT NOT NULL,                 -- where the authors published it
    model     TEXT NOT NULL,                 -- as DDPM-IP 0.1, with gamma
    dataset   TEXT NOT NULL,
    steps     INTEGER NOT NULL,              -- sampling steps; 0: not said
    iteration INTEGER NOT NULL,              -- of the training
    metric    TEXT NOT NULL,                 -- fid
    value     REAL NOT NULL,
    PRIMARY KEY (paper, model, dataset, steps, metric, iteration)
) STRICT, WITHOUT ROWID;
