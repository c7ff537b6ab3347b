-- The audit trail: append-only, and chained by SHA-256, so that a row that was altered, removed or
-- moved is found (`fraudd audit verify`).
--
-- Rows are written in the transactions of what they tell; a chain through those would make them wait
-- for each other.  So a row is only noted in audit_pending, and audit_seal() chains what is there in
-- batches, one batch at a time: `sink` calls it every second, `fraudd audit verify` before it looks.
-- Until then a row can be altered unseen.
--
--     hash(n) = sha256(hash(n - 1) || [n, id, at, who, role, what, object, detail])
--
-- with the row as the text of a JSON array, `at` in microseconds since 1970, nothing before n = 1.
-- The chain's order is that of sealing: ids are given earlier, and some never (rolled back).
--
-- What the chain cannot tell by itself: that its end was cut off, rows and hashes, and that somebody
-- with the owner's rights computed all of it anew.  An anchor, which is the number and hash of one
-- entry, kept elsewhere, tells both.

-- Rules would swallow a change without a word.
DROP RULE audit_no_update ON audit;
DROP RULE audit_no_delete ON audit;

CREATE TABLE audit_chain (
    seq      bigint PRIMARY KEY,
    audit_id bigint NOT NULL UNIQUE,
    hash     bytea  NOT NULL CHECK (length(hash) = 32)
);
CREATE TABLE audit_pending (audit_id bigint NOT NULL)
WITH (autovacuum_vacuum_scale_factor = .01);
INSERT INTO audit_pending SELECT id FROM audit;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of table %: the audit trail only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
-- also where session_replication_role says that triggers rest
ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_grows;
ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_grows;

CREATE FUNCTION audit_note_pending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER audit_note_pending AFTER INSERT ON audit
FOR EACH ROW EXECUTE FUNCTION audit_note_pending();
ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_note_pending;

-- Chains up to `how_many` rows that are committed and not yet chained; returns how many.  Where another
-- session is chaining it waits for its turn, or does nothing if it shall not wait.
CREATE FUNCTION audit_seal(how_many integer DEFAULT 10000, wait boolean DEFAULT true) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    first bigint;
    h bytea;
    r record;
BEGIN
    BEGIN  -- locked until commit: the next batch begins there
        IF wait THEN
            LOCK TABLE audit_chain IN SHARE ROW EXCLUSIVE MODE;
        ELSE
            LOCK TABLE audit_chain IN SHARE ROW EXCLUSIVE MODE NOWAIT;
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        IF wait THEN
            RAISE;
        END IF;
        RETURN 0;
    END;
    SELECT seq, hash INTO n, h FROM audit_chain ORDER BY seq DESC LIMIT 1;
    n := coalesce(n, 0);
    h := coalesce(h, '');
    first := n;
    FOR r IN
        WITH taken AS (
            DELETE FROM audit_pending
            WHERE ctid = ANY (ARRAY(SELECT ctid FROM audit_pending LIMIT how_many))
            RETURNING audit_id)
        -- a row that was removed since gets its entry too, which then tells of it
        SELECT t.audit_id, a.* FROM taken t LEFT JOIN audit a ON a.id = t.audit_id
        ORDER BY t.audit_id
    LOOP
        n := n + 1;
        h := sha256(h || convert_to(jsonb_build_array(
                 n, r.id, (extract(epoch FROM r.at) * 1000000)::bigint, r.who, r.role, r.what,
                 r.object, r.detail)::text, 'UTF8'));
        INSERT INTO audit_chain VALUES (n, r.audit_id, h);
    END LOOP;
    RETURN n - first;
END $$;
