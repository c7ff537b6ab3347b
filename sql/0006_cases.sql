-- Alerts of one card that wait at the same time are one case: the analyst who calls the card holder
-- asks about all of them.  A case is what is claimed, given back and snoozed; a verdict is given on
-- an alert, or on all open alerts of a case.  A case goes
--
--     open -> claimed            claim
--     claimed -> open            release, or its lease ran out (expire)
--     open, claimed -> snoozed   snooze
--     snoozed -> open            the time has come, or a new alert of the card (wake)
--     any -> closed              its last open alert was resolved
--
-- A new alert joins the card's case unless that is closed.  Case and alert share the functions:
-- `what` is an alert ("log/part/offset") or a case (digits).  Every step writes the audit table in
-- the same transaction.  Refusals raise SQLSTATE UQ404 (no such thing) or UQ409 (somebody else's, or
-- too late).
--
-- The head.  Entries of claimed cases stay in index cases_open until a vacuum, and a claim would walk
-- over all of them: 100,000 claims in a row end at a fraction of their rate.  Sequence queue_head
-- holds a bound: no open case has a priority above it, so a claim starts there.
--   1. Whoever opens a case holds a lock on queue_gate until commit, and then raises the bound to
--      "unknown" if the case lies above it (trigger cases_raise).
--   2. The bound is lowered only under a lock that excludes those, to the first open case there is.
-- A sequence, because its value is seen at once, leaves no dead rows, and no claim waits for it.

CREATE TABLE cases (
    id         bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    card       text             NOT NULL,
    team       text             NOT NULL DEFAULT '',  -- '': everybody's
    -- log2 of the sum of its open alerts' loss, each grown by its age: see alerts.priority
    priority   double precision NOT NULL,
    state      text             NOT NULL DEFAULT 'open'
               CHECK (state IN ('open', 'claimed', 'snoozed', 'closed')),
    claimed_by text,
    due        timestamptz,     -- end of the lease, or of the snooze
    opened     timestamptz      NOT NULL DEFAULT now(),
    CHECK ((state = 'claimed') = (claimed_by IS NOT NULL)),
    CHECK ((state IN ('claimed', 'snoozed')) = (due IS NOT NULL))
)
WITH (autovacuum_vacuum_scale_factor = .01, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX cases_card ON cases (card) WHERE state <> 'closed';
CREATE INDEX cases_open ON cases (priority DESC) WHERE state = 'open';
CREATE INDEX cases_due ON cases (due) WHERE due IS NOT NULL;

-- Which team a new case belongs to: the first route whose values all match; null matches anything.
CREATE TABLE team_routes (
    place    integer PRIMARY KEY,
    outcome  text,
    channel  text,
    country  text,
    currency text,
    team     text NOT NULL
);

-- Priorities of several alerts as one.  Below 2^-100 of the largest nothing counts, and power()
-- would fail.
CREATE FUNCTION priority_sum(p double precision[]) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT max(m) + ln(sum(power(2::double precision, greatest(v - m, -100)))) / ln(2::double precision)
    FROM unnest(p) v, (SELECT max(w) AS m FROM unnest(p) w) largest
$$;

-- What was there: claims end, an open alert joins its card's case, resolved ones a closed case.
DROP FUNCTION queue_claim(text, integer, interval), queue_claim_one(text, text, interval),
              queue_release(text, text), queue_resolve(text, text, text, text, boolean),
              queue_refuse_if_claimed(alerts, text), queue_lock(text), queue_expire(),
              queue_note(text, text, text, jsonb);
DROP VIEW queue;
ALTER TABLE alerts ADD COLUMN case_id bigint REFERENCES cases;
INSERT INTO cases (card, priority)
SELECT card, priority_sum(array_agg(priority)) FROM alerts WHERE state <> 'resolved' GROUP BY card;
UPDATE alerts a SET case_id = c.id FROM cases c WHERE c.card = a.card AND a.state <> 'resolved';
INSERT INTO cases (card, priority, state)
SELECT card, priority_sum(array_agg(priority)), 'closed' FROM alerts WHERE state = 'resolved'
GROUP BY card;
UPDATE alerts a SET case_id = c.id FROM cases c
WHERE c.card = a.card AND a.state = 'resolved' AND c.state = 'closed';
-- their constraints and indexes go with them
ALTER TABLE alerts DROP COLUMN state, DROP COLUMN claimed_by, DROP COLUMN claimed_at,
                   DROP COLUMN lease_until;
ALTER TABLE alerts ADD CHECK ((verdict IS NULL) = (resolved_by IS NULL)),
                   ADD CHECK ((verdict IS NULL) = (resolved_at IS NULL));
CREATE INDEX alerts_case ON alerts (case_id);

CREATE VIEW queue AS
    SELECT a.id, a.case_id, a.event_time, a.card, a.tx_id,
           money_text(a.amount_minor, a.exponent) || ' ' || a.currency AS amount,
           a.score, coalesce(a.score, 1) * a.amount_ref / 100 AS expected_loss, a.outcome,
           c.priority, c.team,
           CASE WHEN a.verdict IS NOT NULL THEN 'resolved'
                WHEN c.due > now() THEN c.state ELSE 'open' END AS state,
           CASE WHEN a.verdict IS NULL AND c.due > now() THEN c.claimed_by END AS claimed_by,
           CASE WHEN a.verdict IS NULL AND c.due > now() THEN c.due END AS due,
           a.verdict, a.resolved_by, a.resolved_at, a.note, a.model, a.body
    FROM alerts a JOIN cases c ON c.id = a.case_id;

CREATE VIEW queue_cases AS
    SELECT c.id, c.card, c.team, c.priority,
           CASE WHEN c.state = 'closed' OR c.due > now() THEN c.state ELSE 'open' END AS state,
           CASE WHEN c.due > now() THEN c.claimed_by END AS claimed_by,
           CASE WHEN c.due > now() THEN c.due END AS due, c.opened,
           (SELECT count(*) FROM alerts a WHERE a.case_id = c.id) AS alerts,
           (SELECT count(*) FROM alerts a WHERE a.case_id = c.id AND a.verdict IS NULL) AS waiting,
           (SELECT sum(coalesce(a.score, 1) * a.amount_ref / 100) FROM alerts a
            WHERE a.case_id = c.id AND a.verdict IS NULL) AS expected_loss
    FROM cases c;

CREATE TABLE queue_gate ();  -- has no rows: it is only locked
-- In 1/1,000,000 of a priority, rounded up; the maximum: unknown.
CREATE SEQUENCE queue_head MINVALUE -9223372036854775808 START 9223372036854775807;

CREATE FUNCTION cases_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE queue_gate IN ROW EXCLUSIVE MODE;
    IF NEW.priority > (SELECT last_value / 1e6::double precision FROM queue_head) THEN
        PERFORM setval('queue_head', 9223372036854775807);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cases_raise BEFORE INSERT OR UPDATE OF state, priority ON cases
FOR EACH ROW WHEN (NEW.state = 'open') EXECUTE FUNCTION cases_raise();

-- Lowers the bound to the first open case, unless somebody opens one just now.  From what it is on,
-- or anew, past all dead entries.
CREATE FUNCTION queue_lower(anew boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    top double precision := 'infinity';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;  -- its snapshot may be older than the lock
    END IF;
    LOCK TABLE queue_gate IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    IF NOT anew THEN
        SELECT last_value / 1e6::double precision INTO top FROM queue_head;
    END IF;
    SELECT max(priority) INTO top FROM cases WHERE state = 'open' AND priority <= top;
    PERFORM setval('queue_head', ceil(coalesce(top, -9e12) * 1e6)::bigint);
    -- Undone is all but the sequence: the lock is given back now, not at commit.
    RAISE EXCEPTION 'lowered' USING ERRCODE = 'UQ000';
EXCEPTION
    WHEN lock_not_available OR SQLSTATE 'UQ000' THEN NULL;
END $$;

CREATE FUNCTION queue_note(by_whom text, what text, object text, detail jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO audit (who, what, object, detail)
    VALUES (by_whom, what, object, jsonb_strip_nulls(detail))
$$;

-- Opens cases whose lease ran out or whose snooze is over; returns how many.
CREATE FUNCTION queue_expire() RETURNS bigint LANGUAGE sql AS $$
    WITH late AS (
        SELECT id, state, claimed_by, due FROM cases WHERE due <= now()
        ORDER BY due LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED),
    opened AS (
        UPDATE cases c SET state = 'open', claimed_by = NULL, due = NULL
        FROM late WHERE c.id = late.id RETURNING late.*),
    noted AS (
        INSERT INTO audit (who, what, object, detail)
        SELECT coalesce(claimed_by, 'fraudd'),
               CASE state WHEN 'claimed' THEN 'case expire' ELSE 'case wake' END, id,
               jsonb_build_object('due', due)
        FROM opened RETURNING 1)
    SELECT count(*) FROM noted
$$;

-- What nobody does by a step of their own: `sink` calls it every second, and a claim that finds
-- nothing.
CREATE FUNCTION queue_tend() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue_expire();
    PERFORM queue_lower(true);
END $$;

-- New alerts: each joins its card's case or begins one, and wakes it.  NOTIFY tells those who wait;
-- it is a hint (the most urgent of the cases), the queue is what counts.
CREATE FUNCTION alerts_arrive() RETURNS trigger LANGUAGE plpgsql AS $$
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
        RETURNING c.id, c.card, c.priority),
    linked AS (
        UPDATE alerts a SET case_id = j.id
        FROM fresh f JOIN joined j ON j.card = f.card WHERE a.id = f.id)
    SELECT id INTO first FROM joined ORDER BY priority DESC LIMIT 1;
    IF first IS NOT NULL THEN
        PERFORM pg_notify('fraudd_alerts', first::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER alerts_arrive AFTER INSERT ON alerts REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION alerts_arrive();

-- Locks a case, or an alert's, until the transaction ends.
CREATE FUNCTION queue_lock(what text) RETURNS cases LANGUAGE plpgsql AS $$
DECLARE
    c cases;
BEGIN
    IF what ~ '^[0-9]{1,18}$' THEN
        SELECT * INTO c FROM cases WHERE id = what::bigint FOR NO KEY UPDATE;
    ELSE
        SELECT * INTO c FROM cases WHERE id = (SELECT case_id FROM alerts WHERE alerts.id = what)
        FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no %',
            CASE WHEN what ~ '^[0-9]+$' THEN 'case ' ELSE 'alert ' END || what
            USING ERRCODE = 'UQ404';
    END IF;
    RETURN c;
END $$;

-- Refuses what was resolved, and what somebody else has.
CREATE FUNCTION queue_refuse(c cases, what text, by_whom text, even_resolved boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    a alerts;
BEGIN
    SELECT * INTO a FROM alerts WHERE id = what;
    IF a.verdict IS NOT NULL AND NOT even_resolved THEN
        RAISE EXCEPTION 'alert % was resolved as % by % at %', what, a.verdict, a.resolved_by,
            iso_time(a.resolved_at) USING ERRCODE = 'UQ409';
    END IF;
    IF c.state = 'closed' AND a.id IS NULL THEN
        RAISE EXCEPTION 'case % is closed', what USING ERRCODE = 'UQ409';
    END IF;
    IF c.claimed_by <> by_whom AND c.due > now() THEN
        RAISE EXCEPTION '% % is claimed by % until %',
            CASE WHEN a.id IS NULL THEN 'case' ELSE 'alert' END, what, c.claimed_by,
            iso_time(c.due) USING ERRCODE = 'UQ409';
    END IF;
END $$;

-- Takes the most urgent open case that no other transaction is taking; null: there is none.
CREATE FUNCTION queue_take(by_whom text, lease interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head double precision;
    taken bigint;
BEGIN
    SELECT last_value / 1e6::double precision INTO head FROM queue_head;
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

-- Takes the most urgent open cases; returns their open alerts.  One by one: what has a LIMIT not
-- known in advance, or an array, is planned anew at each call, which takes longer than the claim.
CREATE FUNCTION queue_claim(by_whom text, how_many integer, lease interval) RETURNS SETOF queue
LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
    tended boolean := false;
BEGIN
    FOR i IN 1..how_many LOOP
        taken := queue_take(by_whom, lease);
        IF taken IS NULL AND NOT tended THEN
            PERFORM queue_tend();
            tended := true;
            taken := queue_take(by_whom, lease);
        END IF;
        EXIT WHEN taken IS NULL;
        INSERT INTO audit (who, what, object, detail)
        VALUES (by_whom, 'case claim', taken, jsonb_build_object('due', now() + lease));
        RETURN QUERY SELECT q.* FROM queue q WHERE q.case_id = taken AND q.verdict IS NULL
                     ORDER BY q.expected_loss DESC, q.id;
    END LOOP;
END $$;

-- Takes one case, whatever its place in the queue, also a snoozed one; its own claimant gets a new
-- lease.
CREATE FUNCTION queue_claim_one(what text, by_whom text, lease interval) RETURNS SETOF queue
LANGUAGE plpgsql AS $$
DECLARE
    c cases := queue_lock(what);
BEGIN
    PERFORM queue_refuse(c, what, by_whom, false);
    UPDATE cases SET state = 'claimed', claimed_by = by_whom, due = now() + lease WHERE id = c.id;
    PERFORM queue_note(by_whom, 'case claim', c.id::text, jsonb_build_object('due', now() + lease));
    RETURN QUERY SELECT q.* FROM queue q WHERE q.case_id = c.id AND q.verdict IS NULL
                 ORDER BY q.expected_loss DESC, q.id;
END $$;

-- Gives a claimed case back.
CREATE FUNCTION queue_release(what text, by_whom text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c cases := queue_lock(what);
BEGIN
    IF c.claimed_by IS DISTINCT FROM by_whom THEN
        RAISE EXCEPTION '% is %, not claimed by %',
            CASE WHEN what ~ '^[0-9]+$' THEN 'case ' ELSE 'alert ' END || what,
            CASE WHEN c.state = 'claimed' THEN 'claimed by ' || c.claimed_by ELSE c.state END,
            by_whom USING ERRCODE = 'UQ409';
    END IF;
    UPDATE cases SET state = 'open', claimed_by = NULL, due = NULL WHERE id = c.id;
    PERFORM queue_note(by_whom, 'case release', c.id::text, '{}');
END $$;

-- Puts a case aside until a time; a claim on it ends.
CREATE FUNCTION queue_snooze(what text, by_whom text, until timestamptz, remark text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    c cases := queue_lock(what);
BEGIN
    PERFORM queue_refuse(c, what, by_whom, false);
    IF until <= now() THEN
        RAISE EXCEPTION 'snoozing until % ends before it begins', iso_time(until)
            USING ERRCODE = 'UQ409';
    END IF;
    UPDATE cases SET state = 'snoozed', claimed_by = NULL, due = until WHERE id = c.id;
    PERFORM queue_note(by_whom, 'case snooze', c.id::text,
                       jsonb_build_object('due', until, 'note', remark));
END $$;

-- One alert's verdict.  fraud and legitimate go out as a label of source `analysts`; unsure says
-- nothing, and takes an earlier verdict back.
CREATE FUNCTION queue_judge(a alerts, by_whom text, judged text, remark text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    label text := CASE WHEN judged <> 'unsure' THEN judged
                       WHEN a.verdict <> 'unsure' THEN 'withdrawn' END;
BEGIN
    UPDATE alerts SET verdict = judged, resolved_by = by_whom, resolved_at = now(), note = remark
    WHERE id = a.id;
    IF label IS NOT NULL THEN
        PERFORM label_send('analysts', label_number('analysts', 1), a.tx_id, label, a.event_time,
                           greatest(clock_timestamp(), a.event_time), a.body, by_whom);
    END IF;
    PERFORM queue_note(by_whom, 'alert resolve', a.id,
                       jsonb_build_object('verdict', judged, 'before', a.verdict, 'note', remark));
END $$;

-- Says what an alert was, or all open alerts of a case; the last one closes the case.
CREATE FUNCTION queue_resolve(what text, by_whom text, judged text, remark text,
                              change boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    c cases := queue_lock(what);
    a alerts;
    rest double precision;
BEGIN
    SELECT * INTO a FROM alerts WHERE id = what;
    PERFORM queue_refuse(c, what, by_whom, change AND a.verdict IS DISTINCT FROM judged);
    FOR a IN SELECT * FROM alerts
             WHERE id = what OR (a.id IS NULL AND case_id = c.id AND verdict IS NULL)
             ORDER BY event_time, id LOOP
        PERFORM queue_judge(a, by_whom, judged, remark);
    END LOOP;
    SELECT priority_sum(array_agg(priority)) INTO rest FROM alerts
    WHERE case_id = c.id AND verdict IS NULL;
    IF rest IS NOT NULL THEN
        UPDATE cases SET priority = rest WHERE id = c.id AND priority <> rest;
    ELSE
        UPDATE cases SET state = 'closed', claimed_by = NULL, due = NULL
        WHERE id = c.id AND state <> 'closed';
    END IF;
END $$;
