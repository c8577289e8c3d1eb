-- How runs are sorted by people: into groups, sweeps, and away.

ALTER TABLE run ADD COLUMN label TEXT NOT NULL DEFAULT '';  -- the group, which is a word of SQL
ALTER TABLE run ADD COLUMN sweep TEXT NOT NULL DEFAULT '';  -- the sweep it belongs to
ALTER TABLE run ADD COLUMN deleted INTEGER;                 -- when it was; it can be restored until gc

CREATE INDEX run_label ON run (label) WHERE label <> '';
CREATE INDEX run_sweep ON run (sweep) WHERE sweep <> '';
