-- What a request of the intake depends on changes rarely: its token, the model, its versions, the champion, and
-- whether the project registers on sight. Each project counts these changes, so that the service can keep what it
-- has read and ask for one number instead of reading it again: as long as the number is the same, nothing changed.
--
-- A change is counted by the transaction that makes it, as its last act (the triggers are deferred), so that the
-- project's row is locked for the moment of the commit only. A number that was read before, or together with,
-- what is kept can therefore be too old, and then it is read again, but never too new.

ALTER TABLE projects ADD COLUMN generation bigint NOT NULL DEFAULT 0;

CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE projects SET generation = generation + 1 WHERE project_id = coalesce(NEW.project_id, OLD.project_id);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER projects_count_change
    AFTER UPDATE OF auto_register ON projects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();

-- When a token was last used does not matter here.
CREATE CONSTRAINT TRIGGER tokens_count_change
    AFTER INSERT OR DELETE OR UPDATE OF project_id, name, secret_hash, scopes, expires_at, revoked_at ON tokens
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();

CREATE CONSTRAINT TRIGGER models_count_change
    AFTER INSERT OR DELETE OR UPDATE ON models
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();

CREATE CONSTRAINT TRIGGER model_versions_count_change
    AFTER INSERT OR DELETE OR UPDATE ON model_versions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();

CREATE CONSTRAINT TRIGGER deployments_count_change
    AFTER INSERT OR DELETE OR UPDATE ON deployments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();
