-- Runs that were made from another one; series of one thing in several contexts.

ALTER TABLE run ADD COLUMN parent TEXT NOT NULL DEFAULT '';  -- the id of the run that it was made from

CREATE INDEX run_parent ON run (parent) WHERE parent <> '';

-- The series "validation/loss" is loss in the context validation: what stands before the
-- last slash of its name.
UPDATE series SET
		context = substr(key, 1, length(rtrim(key, replace(key, '/', ''))) - 1),
		key = substr(key, length(rtrim(key, replace(key, '/', ''))) + 1)
	WHERE context = '' AND length(rtrim(key, replace(key, '/', ''))) > 1;
