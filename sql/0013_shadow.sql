-- The model in shadow: it scores beside the champion and decides nothing.  At most one is challenger;
-- the former champion that goes on in shadow after a promotion keeps its state 'former'.
ALTER TABLE models DROP CONSTRAINT models_state_check;
ALTER TABLE models ADD CONSTRAINT models_state_check
    CHECK (state IN ('candidate', 'challenger', 'champion', 'former', 'withdrawn'));
CREATE UNIQUE INDEX models_challenger ON models (state) WHERE state = 'challenger';

-- Puts a model into shadow.  Returns the challenger until now; NULL: there was none, or it is this one.
CREATE FUNCTION model_shadow(of_version text, by_whom text) RETURNS text LANGUAGE plpgsql AS $$
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
    UPDATE models SET state = 'challenger' WHERE version = of_version;
    INSERT INTO audit (who, what, object, detail)
    VALUES (by_whom, 'model shadow', of_version,
            jsonb_strip_nulls(jsonb_build_object('before', before)));
    RETURN before;
END $$;

-- Takes a model out of shadow.
CREATE FUNCTION model_unshadow(of_version text, by_whom text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM models WHERE version = of_version) THEN
        RAISE EXCEPTION 'there is no model %', of_version USING ERRCODE = 'UQ404';
    END IF;
    UPDATE models SET state = 'candidate' WHERE version = of_version AND state = 'challenger';
    INSERT INTO audit (who, what, object, detail) VALUES (by_whom, 'model unshadow', of_version, '{}');
END $$;

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOREACH f IN ARRAY ARRAY['model_shadow(text, text)', 'model_unshadow(text, text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', f,
                       current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
INSERT INTO role_grants (role, kind, object, privilege)
VALUES ('fraudd_train', 'function', 'model_shadow(text, text)', 'EXECUTE'),
       ('fraudd_train', 'function', 'model_unshadow(text, text)', 'EXECUTE');
SELECT roles_grant();
