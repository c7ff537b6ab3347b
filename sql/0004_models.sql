-- The model registry: which model serves.  At most one is champion.  A promotion makes the champion
-- a former one; a rollback withdraws the champion and brings the latest former one back, so that a
-- second rollback goes one further.  Refusals raise UQ404 and UQ409.

CREATE FUNCTION model_enthrone(of_version text, by_whom text, what text, before text,
                               before_becomes text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE models SET state = before_becomes, retired = now() WHERE version = before;
    UPDATE models SET state = 'champion', promoted = now(), retired = NULL
    WHERE version = of_version;
    INSERT INTO audit (who, what, object, detail)
    VALUES (by_whom, what, of_version, jsonb_strip_nulls(jsonb_build_object('before', before)));
END $$;

-- Returns the former champion's version; NULL: there was none, or this one is champion already.
CREATE FUNCTION model_promote(of_version text, by_whom text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text;
BEGIN
    LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE;  -- one change of champion at a time
    IF NOT EXISTS (SELECT FROM models WHERE version = of_version) THEN
        RAISE EXCEPTION 'there is no model %', of_version USING ERRCODE = 'UQ404';
    END IF;
    SELECT version INTO before FROM models WHERE state = 'champion' AND version <> of_version;
    PERFORM model_enthrone(of_version, by_whom, 'model promote', before, 'former');
    RETURN before;
END $$;

-- Returns the version that is champion again.
CREATE FUNCTION model_rollback(by_whom text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    champion text;
    former text;
BEGIN
    LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE;
    SELECT version INTO champion FROM models WHERE state = 'champion';
    SELECT version INTO former FROM models WHERE state = 'former'
    ORDER BY retired DESC, version DESC LIMIT 1;
    IF former IS NULL THEN
        RAISE EXCEPTION 'no model was in service before %', coalesce(champion, 'now')
            USING ERRCODE = 'UQ409';
    END IF;
    PERFORM model_enthrone(former, by_whom, 'model rollback', champion, 'withdrawn');
    RETURN former;
END $$;
