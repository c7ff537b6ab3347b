-- What training reads.

CREATE INDEX decisions_repeated ON decisions (event_time) WHERE repeated;

-- Payments of [from_time, until_time) with what is known of them now.  Left out are payments that
-- `score` answered as repeats, because they changed no window then.
--
-- verdict and known_time follow `score`: labels count in order of their time known; a fraud is known
-- since the first label that said so without being taken back; withdrawn leaves no verdict.
-- declined: the payment did not go through.
CREATE FUNCTION history(from_time timestamptz, until_time timestamptz)
RETURNS TABLE (event_time timestamptz, log text, part integer, log_offset bigint, tx_id text,
               card text, type text, amount_minor bigint, currency text, exponent smallint,
               merchant text, terminal text, mcc integer, country text, channel text, entry text,
               device text, ip text, lat real, lon real, verdict text, known_time timestamptz,
               declined boolean)
LANGUAGE sql STABLE AS $$
    SELECT t.event_time, t.log, t.part, t.log_offset, t.tx_id, t.card, t.type, t.amount_minor,
           t.currency, t.exponent, t.merchant, t.terminal, t.mcc, t.country, t.channel, t.entry,
           t.device, t.ip, t.lat, t.lon, nullif(k.verdict, 'withdrawn'),
           CASE WHEN k.verdict <> 'withdrawn' THEN k.known_time END, a.id IS NOT NULL
    FROM transactions t
    LEFT JOIN (
        SELECT l.tx_id, l.card,
               (array_agg(l.verdict
                          ORDER BY l.known_time DESC, l.source DESC, l.number DESC))[1] AS verdict,
               coalesce(min(l.known_time) FILTER (
                            WHERE l.verdict = 'fraud'
                              AND l.known_time > coalesce(l.last_other, '-infinity')),
                        max(l.known_time)) AS known_time
        FROM (SELECT b.tx_id, b.card, b.verdict, b.known_time, b.source, b.number,
                     max(b.known_time) FILTER (WHERE b.verdict <> 'fraud')
                         OVER (PARTITION BY b.tx_id, b.card) AS last_other
              FROM labels b
              WHERE b.event_time >= from_time - interval '1 day'
                AND b.event_time < until_time + interval '1 day') l
        GROUP BY l.tx_id, l.card) k ON k.tx_id = t.tx_id AND k.card = t.card
    LEFT JOIN alerts a ON a.outcome = 'decline' AND a.log = t.log AND a.part = t.part
                      AND a.log_offset = t.log_offset
    WHERE t.event_time >= from_time AND t.event_time < until_time
      AND NOT EXISTS (
          SELECT FROM decisions d
          WHERE d.repeated AND d.log = t.log AND d.part = t.part AND d.log_offset = t.log_offset
            AND d.event_time = t.event_time
            AND d.event_time >= from_time AND d.event_time < until_time)
$$;
