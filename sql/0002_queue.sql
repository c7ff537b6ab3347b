-- The alert queue as a view and functions, so that a bank's own tool can drive it as `fraudd alerts`
-- does.  Every function is one step of one analyst; every step writes the audit table in the same
-- transaction.  An alert goes
--
--     open -> claimed -> resolved        claim, resolve
--     claimed -> open                    release, or its lease ran out (expire)
--     open -> resolved                   resolve without a claim
--     resolved -> resolved               resolve with change: another verdict
--
-- Refusals raise SQLSTATE UQ404 (no such alert) or UQ409 (somebody else's, or too late).

CREATE VIEW queue AS
    SELECT id, event_time, card, tx_id,
           money_text(amount_minor, exponent) || ' ' || currency AS amount,
           score, coalesce(score, 1) * amount_ref / 100 AS expected_loss, outcome, priority,
           CASE WHEN state = 'claimed' AND lease_until <= now() THEN 'open' ELSE state END AS state,
           claimed_by, lease_until, verdict, resolved_by, resolved_at, note, model, body
    FROM alerts;

-- Locks an alert until the transaction ends.
CREATE FUNCTION queue_lock(alert text) RETURNS alerts LANGUAGE plpgsql AS $$
DECLARE
    a alerts;
BEGIN
    SELECT * INTO a FROM alerts WHERE id = alert FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no alert %', alert USING ERRCODE = 'UQ404';
    END IF;
    RETURN a;
END $$;

CREATE FUNCTION queue_refuse_if_claimed(a alerts, by_whom text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF a.claimed_by <> by_whom AND a.lease_until > now() THEN
        RAISE EXCEPTION 'alert % is claimed by % until %', a.id, a.claimed_by,
            iso_time(a.lease_until) USING ERRCODE = 'UQ409';
    END IF;
END $$;

CREATE FUNCTION queue_note(by_whom text, what text, alert text, detail jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO audit (who, what, object, detail)
    VALUES (by_whom, what, alert, jsonb_strip_nulls(detail))
$$;

-- Opens alerts whose lease ran out; returns how many.  Claiming does it first.
CREATE FUNCTION queue_expire() RETURNS bigint LANGUAGE sql AS $$
    WITH late AS (
        SELECT id, claimed_by, lease_until FROM alerts
        WHERE state = 'claimed' AND lease_until <= now()
        ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED),
    opened AS (
        UPDATE alerts a SET state = 'open', claimed_by = NULL, claimed_at = NULL, lease_until = NULL
        FROM late WHERE a.id = late.id RETURNING late.*),
    noted AS (
        INSERT INTO audit (who, what, object, detail)
        SELECT claimed_by, 'alert expire', id, jsonb_build_object('lease_until', lease_until)
        FROM opened RETURNING 1)
    SELECT count(*) FROM noted
$$;

-- Takes the most urgent open alerts, none that another transaction is taking.
CREATE FUNCTION queue_claim(by_whom text, how_many integer, lease interval) RETURNS SETOF queue
LANGUAGE plpgsql AS $$
DECLARE
    ids text[];
BEGIN
    IF EXISTS (SELECT FROM alerts WHERE state = 'claimed' AND lease_until <= now()) THEN
        PERFORM queue_expire();
    END IF;
    WITH best AS (
        SELECT id FROM alerts WHERE state = 'open'
        ORDER BY priority DESC LIMIT how_many FOR UPDATE SKIP LOCKED),
    taken AS (
        UPDATE alerts a SET state = 'claimed', claimed_by = by_whom, claimed_at = now(),
                            lease_until = now() + lease
        FROM best WHERE a.id = best.id RETURNING a.id, a.lease_until),
    noted AS (
        INSERT INTO audit (who, what, object, detail)
        SELECT by_whom, 'alert claim', id, jsonb_build_object('lease_until', lease_until)
        FROM taken)
    SELECT array_agg(id) INTO ids FROM taken;
    RETURN QUERY SELECT * FROM queue q WHERE q.id = ANY (ids) ORDER BY q.priority DESC;
END $$;

-- Takes one alert, whatever its place in the queue; its own claimant gets a new lease.
CREATE FUNCTION queue_claim_one(alert text, by_whom text, lease interval) RETURNS SETOF queue
LANGUAGE plpgsql AS $$
DECLARE
    a alerts := queue_lock(alert);
BEGIN
    PERFORM queue_refuse_if_claimed(a, by_whom);
    IF a.state = 'resolved' THEN
        RAISE EXCEPTION 'alert % was resolved as % by %', alert, a.verdict, a.resolved_by
            USING ERRCODE = 'UQ409';
    END IF;
    UPDATE alerts SET state = 'claimed', claimed_by = by_whom, claimed_at = now(),
                      lease_until = now() + lease
    WHERE id = alert;
    PERFORM queue_note(by_whom, 'alert claim', alert,
                       jsonb_build_object('lease_until', now() + lease));
    RETURN QUERY SELECT * FROM queue q WHERE q.id = alert;
END $$;

-- Gives a claimed alert back.
CREATE FUNCTION queue_release(alert text, by_whom text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    a alerts := queue_lock(alert);
BEGIN
    IF a.claimed_by IS DISTINCT FROM by_whom THEN
        RAISE EXCEPTION 'alert % is %, not claimed by %', alert,
            CASE WHEN a.state = 'claimed' THEN 'claimed by ' || a.claimed_by ELSE a.state END,
            by_whom USING ERRCODE = 'UQ409';
    END IF;
    UPDATE alerts SET state = 'open', claimed_by = NULL, claimed_at = NULL, lease_until = NULL
    WHERE id = alert;
    PERFORM queue_note(by_whom, 'alert release', alert, '{}');
END $$;

-- Says what an alert was.  fraud and legitimate go out as a label of source `analysts`; unsure says
-- nothing, and takes an earlier verdict back.
CREATE FUNCTION queue_resolve(alert text, by_whom text, judged text, remark text,
                              change boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    a alerts := queue_lock(alert);
    label text := CASE WHEN judged <> 'unsure' THEN judged
                       WHEN a.verdict <> 'unsure' THEN 'withdrawn' END;
BEGIN
    PERFORM queue_refuse_if_claimed(a, by_whom);
    IF a.state = 'resolved' AND (NOT change OR a.verdict = judged) THEN
        RAISE EXCEPTION 'alert % was resolved as % by % at %', alert, a.verdict, a.resolved_by,
            iso_time(a.resolved_at) USING ERRCODE = 'UQ409';
    END IF;
    UPDATE alerts SET state = 'resolved', claimed_by = NULL, claimed_at = NULL, lease_until = NULL,
                      verdict = judged, resolved_by = by_whom, resolved_at = now(), note = remark
    WHERE id = alert;
    IF label IS NOT NULL THEN
        PERFORM label_send('analysts', label_number('analysts', 1), a.tx_id, label, a.event_time,
                           greatest(clock_timestamp(), a.event_time), a.body, by_whom);
    END IF;
    PERFORM queue_note(by_whom, 'alert resolve', alert,
                       jsonb_build_object('verdict', judged, 'before', a.verdict, 'note', remark));
END $$;
