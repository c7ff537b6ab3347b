-- Who may do what: a role for each kind of user, with what its verbs need and nothing else.
--
--     fraudd_sink      fraudd sink
--     fraudd_train     fraudd train, model
--     fraudd_import    fraudd labels
--     fraudd_control   fraudd lists and what else goes by the notices topic: notes what was done
--     fraudd_analyst   fraudd alerts; a bank's own tool over the queue
--     fraudd_console   fraudd console, which acts for the analysts that log in there
--     fraudd_auditor   fraudd audit; reads everything, changes nothing
--
-- fraudd score has none: it needs no database.  Nobody logs in as one of these: GRANT fraudd_sink TO
-- somebody.  They are the server's, not the database's, and making them needs CREATEROLE; where whoever
-- migrates has it not, somebody else makes them, and then the tables' owner calls roles_grant().
--
-- Users come to the queue by functions that run with the owner's rights (SECURITY DEFINER): so nobody
-- can change an alert without its row in audit.  Of audit only who, what, object and detail can be
-- written: time and database user are the server's.
--
-- Teams.  Where cases have teams (team_routes), an analyst sees and takes those of the own teams
-- (team_members; '*': all of them) and those of no team.  That holds for members of fraudd_analyst by
-- the name they log in with, and for the console's connections by the analyst it acts for.

CREATE TABLE team_members (
    member text NOT NULL,   -- database user, or name in the console
    team   text NOT NULL,   -- '*': every team
    PRIMARY KEY (member, team)
);

-- What roles_grant() grants.  A later migration adds rows and calls it.
CREATE TABLE role_grants (
    role      text NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('table', 'function')),
    object    text NOT NULL,
    privilege text NOT NULL,  -- maybe with columns: 'INSERT (who, what)'
    PRIMARY KEY (role, object, privilege)
);

-- Of the server's users that are bound to teams: not who owns the tables.
CREATE FUNCTION queue_is(of_role text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = of_role
                   AND pg_has_role(session_user, oid, 'member'))
       AND NOT pg_has_role(session_user,
                           (SELECT relowner FROM pg_class WHERE oid = 'cases'::regclass), 'member')
$$;
-- Whose queue it is.  Only the console may say so itself.
CREATE FUNCTION queue_actor() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN queue_is('fraudd_console') THEN current_setting('fraudd.analyst', true)
                ELSE session_user END
$$;
CREATE FUNCTION queue_teams() RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_append(coalesce(array_agg(team), '{}'), '') FROM team_members WHERE member = queue_actor()
$$;
-- Whether this session sees its teams' cases only.
CREATE FUNCTION queue_bound() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT (queue_is('fraudd_analyst') OR queue_is('fraudd_console')) AND '*' <> ALL (queue_teams())
$$;
CREATE FUNCTION queue_shows(of_team text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT queue_bound() OR of_team = ANY (queue_teams())
$$;

-- An alert has its case's team, so that a look at many alerts need not look at as many cases.
ALTER TABLE alerts ADD COLUMN team text NOT NULL DEFAULT '';
UPDATE alerts a SET team = c.team FROM cases c WHERE c.id = a.case_id AND c.team <> '';
CREATE FUNCTION cases_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE alerts SET team = NEW.team WHERE case_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER cases_move AFTER UPDATE OF team ON cases
FOR EACH ROW WHEN (OLD.team <> NEW.team) EXECUTE FUNCTION cases_move();
-- As in 0006_cases.sql, and with the team.
CREATE OR REPLACE FUNCTION alerts_arrive() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
BEGIN
    INSERT INTO audit (who, what, object, detail)
    SELECT 'fraudd', 'case wake', c.id, jsonb_build_object('due', c.due)
    FROM (SELECT id, due FROM cases
          WHERE state = 'snoozed' AND card IN (SELECT card FROM fresh)
          ORDER BY card FOR NO KEY UPDATE) c;
    WITH joined AS (
        INSERT INTO cases AS c (card, team, priority)
        SELECT card, coalesce((array_agg(team ORDER BY priority DESC))[1], ''),
               priority_sum(array_agg(priority))
        FROM (SELECT f.card, f.priority,
                     (SELECT r.team FROM team_routes r
                      WHERE coalesce(r.outcome = f.outcome, r.outcome IS NULL)
                        AND coalesce(r.channel = f.body ->> 'channel', r.channel IS NULL)
                        AND coalesce(r.country = f.body ->> 'country', r.country IS NULL)
                        AND coalesce(r.currency = f.currency, r.currency IS NULL)
                      ORDER BY r.place LIMIT 1) AS team
              FROM fresh f) routed
        GROUP BY card ORDER BY card  -- two sinks at a time lock in the same order
        ON CONFLICT (card) WHERE state <> 'closed' DO UPDATE
            SET priority = priority_sum(ARRAY[c.priority, excluded.priority]),
                state = CASE c.state WHEN 'snoozed' THEN 'open' ELSE c.state END,
                due = CASE c.state WHEN 'snoozed' THEN NULL ELSE c.due END
        RETURNING c.id, c.card, c.priority, c.team),
    linked AS (
        UPDATE alerts a SET case_id = j.id, team = j.team
        FROM fresh f JOIN joined j ON j.card = f.card WHERE a.id = f.id)
    SELECT id INTO first FROM joined ORDER BY priority DESC LIMIT 1;
    IF first IS NOT NULL THEN
        PERFORM pg_notify('fraudd_alerts', first::text);
    END IF;
    RETURN NULL;
END $$;

ALTER TABLE cases ENABLE ROW LEVEL SECURITY;
CREATE POLICY cases_see ON cases FOR SELECT
USING ((SELECT NOT queue_bound()) OR team = ANY ((SELECT queue_teams())::text[]));
ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
CREATE POLICY alerts_see ON alerts FOR SELECT
USING ((SELECT NOT queue_bound()) OR team = ANY ((SELECT queue_teams())::text[]));
CREATE POLICY alerts_add ON alerts FOR INSERT WITH CHECK (true);  -- whoever may insert at all
ALTER VIEW queue SET (security_invoker = true);
ALTER VIEW queue_cases SET (security_invoker = true);
ALTER VIEW label_list SET (security_invoker = true);

-- As in 0006_cases.sql, but for the teams.
CREATE OR REPLACE FUNCTION queue_lock(what text) RETURNS cases LANGUAGE plpgsql AS $$
DECLARE
    c cases;
BEGIN
    IF what ~ '^[0-9]{1,18}$' THEN
        SELECT * INTO c FROM cases WHERE id = what::bigint AND queue_shows(team) FOR NO KEY UPDATE;
    ELSE
        SELECT * INTO c FROM cases
        WHERE id = (SELECT case_id FROM alerts WHERE alerts.id = what) AND queue_shows(team)
        FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no %',
            CASE WHEN what ~ '^[0-9]+$' THEN 'case ' ELSE 'alert ' END || what
            USING ERRCODE = 'UQ404';
    END IF;
    RETURN c;
END $$;

-- A bound session passes over what is not its own.
CREATE OR REPLACE FUNCTION queue_take(by_whom text, lease interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head double precision;
    taken bigint;
    teams text[];
BEGIN
    SELECT last_value / 1e6::double precision INTO head FROM queue_head;
    IF queue_bound() THEN
        teams := queue_teams();
        UPDATE cases SET state = 'claimed', claimed_by = by_whom, due = now() + lease
        WHERE id = (SELECT id FROM cases
                    WHERE state = 'open' AND priority <= head AND team = ANY (teams)
                    ORDER BY priority DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING id INTO taken;
        RETURN taken;
    END IF;
    UPDATE cases SET state = 'claimed', claimed_by = by_whom, due = now() + lease
    WHERE id = (SELECT id FROM cases WHERE state = 'open' AND priority <= head
                ORDER BY priority DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id INTO taken;
    -- One in 200 moves the head: in between as many dead entries are passed over.
    IF head > 9e12 OR random() < .005 THEN
        PERFORM queue_lower(false);
    END IF;
    RETURN taken;
END $$;

-- What was done to an alert and its case.
CREATE FUNCTION queue_history(alert text)
RETURNS TABLE (at timestamptz, who text, what text, detail jsonb) LANGUAGE sql STABLE AS $$
    SELECT h.at, h.who, h.what, h.detail
    FROM alerts a JOIN audit h ON h.object = a.id AND h.what LIKE 'alert %'
                               OR h.object = a.case_id::text AND h.what LIKE 'case %'
    WHERE a.id = alert AND queue_shows(a.team)
    ORDER BY h.id
$$;

-- Payments of an alert's card around it, the newest first.  Of the labels of a payment the one that was
-- known last counts; a decision says what became of it.
CREATE FUNCTION queue_payments(alert text, days bigint, how_many bigint)
RETURNS TABLE (event_time timestamptz, amount text, value numeric, merchant text, mcc text,
               country text, channel text, entry text, type text, outcome text, score numeric,
               verdict text, alert_id text) LANGUAGE sql STABLE AS $$
    SELECT t.event_time, money_text(t.amount_minor, t.exponent) || ' ' || t.currency,
           round(t.amount_ref / 100.0, 2), t.merchant, lpad(t.mcc::text, 4, '0'), t.country,
           t.channel, t.entry, t.type, d.outcome, round(d.score::numeric, 4),
           nullif(l.verdict, 'withdrawn'), a.id
    FROM alerts of_it
    CROSS JOIN LATERAL (
        SELECT * FROM transactions p
        WHERE p.card = of_it.card
          AND p.event_time >= of_it.event_time - days * interval '1 day'
          AND p.event_time <= of_it.event_time + interval '1 day'
        ORDER BY p.event_time DESC LIMIT how_many) t
    LEFT JOIN decisions d ON d.log = t.log AND d.part = t.part AND d.log_offset = t.log_offset
                         AND d.event_time = t.event_time
    LEFT JOIN alerts a ON a.id = t.log || '/' || t.part::text || '/' || t.log_offset::text
    LEFT JOIN LATERAL (SELECT b.verdict FROM labels b WHERE b.tx_id = t.tx_id AND b.card = t.card
                       ORDER BY b.known_time DESC, b.source DESC, b.number DESC LIMIT 1) l ON true
    WHERE of_it.id = alert AND queue_shows(of_it.team)
    ORDER BY t.event_time DESC
$$;

-- Until the transaction ends nobody else adds a model or changes who is champion.
CREATE FUNCTION model_lock() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE;
END $$;

-- Functions that run with the owner's rights.  What a caller's own tables are called must not matter to
-- them, so their path is fixed, and temporary tables come last.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOREACH f IN ARRAY ARRAY[
        'queue_claim(text, integer, interval)', 'queue_claim_one(text, text, interval)',
        'queue_release(text, text)', 'queue_snooze(text, text, timestamptz, text)',
        'queue_resolve(text, text, text, text, boolean)', 'queue_tend()', 'queue_history(text)',
        'queue_payments(text, bigint, bigint)', 'audit_seal(integer, boolean)',
        'ensure_partitions(timestamptz, timestamptz)', 'model_promote(text, text)',
        'model_rollback(text)', 'model_lock()', 'alerts_arrive()', 'audit_note_pending()',
        'queue_teams()', 'queue_bound()', 'queue_shows(text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', f,
                       current_schema());
        IF f NOT IN ('queue_teams()'::regprocedure, 'queue_bound()', 'queue_shows(text)') THEN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
        END IF;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION drop_partitions_before(timestamptz) FROM PUBLIC;

INSERT INTO role_grants (role, kind, object, privilege)
SELECT 'fraudd_' || r, 'table', t, 'SELECT'
FROM unnest(ARRAY['sink', 'train', 'import', 'control', 'analyst']) r,
     unnest(ARRAY['migrations', 'role_grants']) t  -- `fraudd check`
UNION ALL
SELECT 'fraudd_' || g.role, 'table', g.object, p
FROM (VALUES
    -- SELECT: its staging tables are made after them
    ('sink', 'transactions', '{SELECT,INSERT}'), ('sink', 'decisions', '{SELECT,INSERT}'),
    ('sink', 'alerts', '{SELECT,INSERT}'), ('sink', 'labels', '{SELECT,INSERT}'),
    ('sink', 'label_outbox', '{SELECT,DELETE}'), ('sink', 'sink_offsets', '{SELECT,INSERT,UPDATE}'),
    ('sink', 'rejects', '{INSERT}'),
    ('train', 'transactions', '{SELECT}'), ('train', 'decisions', '{SELECT}'),
    ('train', 'alerts', '{SELECT}'), ('train', 'labels', '{SELECT}'),
    ('train', 'models', '{SELECT,INSERT,"UPDATE (training, lineage, metrics)"}'),
    ('train', 'audit', '{"INSERT (who, what, object, detail)"}'),
    ('import', 'transactions', '{SELECT}'), ('import', 'decisions', '{SELECT}'),
    ('import', 'labels', '{SELECT}'), ('import', 'label_list', '{SELECT}'),
    ('import', 'verdicts', '{SELECT,INSERT}'), ('import', 'label_outbox', '{SELECT,INSERT}'),
    ('import', 'label_sources', '{SELECT,INSERT,UPDATE}'),
    ('import', 'audit', '{"INSERT (who, what, object, detail)"}'),
    ('control', 'audit', '{"INSERT (who, what, object, detail)"}'),
    ('analyst', 'queue', '{SELECT}'), ('analyst', 'queue_cases', '{SELECT}'),
    ('analyst', 'cases', '{SELECT}'), ('analyst', 'alerts', '{SELECT}'),
    ('analyst', 'models',
     '{"SELECT (version, created, state, promoted, retired, lineage, metrics)"}')
    ) g (role, object, privileges), unnest(g.privileges::text[]) p
UNION ALL
SELECT 'fraudd_auditor', 'table', relname, 'SELECT' FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v')
  AND NOT relispartition
UNION ALL
SELECT 'fraudd_' || g.role, 'function', g.object, 'EXECUTE'
FROM (VALUES
    ('sink', 'ensure_partitions(timestamptz, timestamptz)'), ('sink', 'queue_tend()'),
    ('sink', 'audit_seal(integer, boolean)'),
    ('train', 'model_lock()'), ('train', 'model_promote(text, text)'),
    ('train', 'model_rollback(text)'),
    ('analyst', 'queue_claim(text, integer, interval)'),
    ('analyst', 'queue_claim_one(text, text, interval)'), ('analyst', 'queue_release(text, text)'),
    ('analyst', 'queue_snooze(text, text, timestamptz, text)'),
    ('analyst', 'queue_resolve(text, text, text, text, boolean)'),
    ('analyst', 'queue_history(text)'), ('analyst', 'queue_payments(text, bigint, bigint)'),
    ('auditor', 'audit_seal(integer, boolean)'), ('auditor', 'queue_history(text)'),
    ('auditor', 'queue_payments(text, bigint, bigint)')
    ) g (role, object);
INSERT INTO role_grants
SELECT 'fraudd_console', kind, object, privilege FROM role_grants
WHERE role = 'fraudd_analyst';

-- Makes the roles that are missing, where this user may, and grants what role_grants says.  Returns the
-- roles that are still missing.
CREATE FUNCTION roles_grant() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT DISTINCT role FROM role_grants LOOP
        IF to_regrole(r.role) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', r.role);
            EXCEPTION
                WHEN insufficient_privilege THEN RETURN NEXT r.role;
                WHEN duplicate_object OR unique_violation THEN NULL;  -- for another database, just now
            END;
        END IF;
    END LOOP;
    FOR r IN SELECT DISTINCT role FROM role_grants WHERE to_regrole(role) IS NOT NULL LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), r.role);
    END LOOP;
    FOR r IN SELECT * FROM role_grants WHERE to_regrole(role) IS NOT NULL LOOP
        EXECUTE format('GRANT %s ON %s %s TO %I', r.privilege, r.kind, r.object, r.role);
    END LOOP;
END $$;
SELECT roles_grant();
