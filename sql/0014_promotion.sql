-- What a promotion by rule (`fraudd model promote --by-rule`) asks of the database: since when the
-- challenger has been in shadow, and whether `fraudd outcomes` found a bound missed lately.
ALTER TABLE models ADD COLUMN shadowed timestamptz; -- when it last went into shadow; NULL: never
UPDATE models m SET shadowed = (SELECT max(at) FROM audit WHERE what = 'model shadow' AND object = m.version)
WHERE state = 'challenger';

-- As in 0013; one that is in shadow already keeps its time.
CREATE OR REPLACE FUNCTION model_shadow(of_version text, by_whom text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was text;
    before text;
BEGIN
    LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE;
    SELECT state INTO was FROM models WHERE version = of_version;
    IF was IS NULL THEN
        RAISE EXCEPTION 'there is no model %', of_version USING ERRCODE = 'UQ404';
    ELSIF was = 'champion' THEN
        RAISE EXCEPTION 'model % is champion', of_version USING ERRCODE = 'UQ409';
    END IF;
    UPDATE models SET state = 'candidate' WHERE state = 'challenger' AND version <> of_version
    RETURNING version INTO before;
    UPDATE models SET state = 'challenger',
                      shadowed = CASE WHEN state = 'challenger' THEN shadowed ELSE now() END
    WHERE version = of_version;
    INSERT INTO audit (who, what, object, detail)
    VALUES (by_whom, 'model shadow', of_version,
            jsonb_strip_nulls(jsonb_build_object('before', before)));
    RETURN before;
END $$;

-- The challenger, seconds in shadow, and the latest bound that `fraudd outcomes` found missed in the
-- time before now (NULL: none); no row: nothing is in shadow.
CREATE FUNCTION model_challenger(within interval)
RETURNS TABLE (version text, seconds double precision, missed text) LANGUAGE sql STABLE AS $$
    SELECT m.version, extract(epoch FROM now() - m.shadowed)::double precision,
           (SELECT a.object || ': ' || (a.detail ->> 'words') FROM audit a
            WHERE a.what = 'outcomes missed' AND a.at > now() - within ORDER BY a.id DESC LIMIT 1)
    FROM models m WHERE m.state = 'challenger'
$$;
CREATE INDEX audit_outcomes ON audit (at) WHERE what = 'outcomes missed';

-- Replacing a function puts its settings back.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOREACH f IN ARRAY ARRAY['model_shadow(text, text)', 'model_challenger(interval)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', f,
                       current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
INSERT INTO role_grants (role, kind, object, privilege)
VALUES ('fraudd_train', 'function', 'model_challenger(interval)', 'EXECUTE');
SELECT roles_grant();
