-- Holidays are days of their own kind: they say nothing of how days differ, so a reference is fitted without them. Which of its
-- days they were is kept, so that a list that has changed since is noticed. And somebody who puts other days in the place of
-- a baseline says why.
ALTER TABLE shift_references ADD COLUMN holidays date[] NOT NULL DEFAULT '{}';
ALTER TABLE baselines ADD COLUMN reason text;
