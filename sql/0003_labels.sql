-- Labels that begin here: verdicts of the queue and imported chargebacks.
--
-- A reader drops a label whose number is not above the latest of its source, so numbers must become
-- visible in their order: label_number locks the source until the transaction ends.  They start at
-- the milliseconds since 1970, so that a database made anew, or brought back from a backup, does not
-- give numbers that readers have seen.

-- The first of `how_many` numbers of a source.
CREATE FUNCTION label_number(of_source text, how_many bigint) RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO label_sources AS s
    VALUES (of_source, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + how_many)
    ON CONFLICT (source) DO UPDATE
        SET number = greatest(s.number + how_many, excluded.number)
    RETURNING number - how_many + 1
$$;

-- A message as etc/wire/label.schema.json wants it.  facts: an object with the payment's members, by
-- the names of the wire formats (the message of an alert will do); others in it are left out.
CREATE FUNCTION label_body(source text, number bigint, tx_id text, verdict text,
                           event_time timestamptz, known_time timestamptz, facts jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('source', source, 'number', number, 'tx', tx_id, 'verdict', verdict,
                              'ts', iso_time(event_time), 'known', iso_time(known_time))
           || (SELECT jsonb_object_agg(key, value) FROM jsonb_each(facts)
               WHERE value <> 'null'
                 AND key IN ('card', 'merchant', 'terminal', 'mcc', 'country', 'device', 'ip',
                             'amount', 'currency', 'exponent', 'amount_ratio'))
$$;

-- Writes a verdict and the label that `sink` will publish.
CREATE FUNCTION label_send(source text, number bigint, tx_id text, verdict text,
                           event_time timestamptz, known_time timestamptz, facts jsonb,
                           by_whom text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO verdicts (source, number, tx_id, card, verdict, known_time, who)
    VALUES (source, number, tx_id, facts ->> 'card', verdict, known_time, by_whom);
    INSERT INTO label_outbox (source, number, tx_id, body)
    VALUES (source, number, tx_id,
            label_body(source, number, tx_id, verdict, event_time, known_time, facts));
$$;

-- Chargebacks and other verdicts from a file.  The caller has filled
--   label_file (line bigint, tx_id text, card text, verdict text, known timestamptz,
--               known_last timestamptz)
-- where card may be null, and known_last is after known where the file has the day only.  Makes
-- label_match: each line with its payment, or the reason why there is none.
CREATE FUNCTION label_match_file() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE label_match ON COMMIT DROP AS
    SELECT DISTINCT ON (m.line) m.line, m.tx_id, m.verdict, m.event_time,
           CASE WHEN m.payers = 1 THEN m.payer ELSE m.card END AS card,
           CASE WHEN m.known_last >= m.event_time THEN greatest(m.known, m.event_time)
                ELSE m.known END AS known,
           CASE WHEN m.payer IS NULL AND m.card IS NOT NULL THEN 'no such payment of this card'
                WHEN m.payer IS NULL THEN 'no such payment'
                WHEN m.payers > 1 THEN
                    m.payers || ' cards have a payment of this id: add a column card_id'
                WHEN m.known_last < m.event_time THEN 'known before the payment'
                WHEN m.known > now() THEN 'known in the future' END AS reason,
           jsonb_build_object('card', m.payer, 'merchant', m.merchant, 'terminal', m.terminal,
                              'mcc', lpad(m.mcc::text, 4, '0'), 'country', m.country,
                              'device', m.device, 'ip', m.ip, 'amount', m.amount_minor,
                              'currency', m.currency, 'exponent', m.exponent,
                              'amount_ratio', nullif(d.amount_ratio, 0)) AS facts
    FROM (SELECT f.*, count(t.payer) OVER (PARTITION BY f.line) AS payers, t.*
          FROM label_file f LEFT JOIN LATERAL (
              -- a payment that was sent twice: the first one
              SELECT DISTINCT ON (p.card) p.card AS payer, p.event_time, p.log, p.part,
                     p.log_offset, p.amount_minor, p.currency, p.exponent, p.merchant, p.terminal,
                     p.mcc, p.country, p.device, p.ip
              FROM transactions p
              WHERE p.tx_id = f.tx_id AND (f.card IS NULL OR p.card = f.card)
              ORDER BY p.card, p.event_time, p.log, p.part, p.log_offset) t ON true) m
    LEFT JOIN decisions d ON d.log = m.log AND d.part = m.part AND d.log_offset = m.log_offset
                         AND d.event_time = m.event_time
    ORDER BY m.line;
END $$;

-- Sends label_match's verdicts that this source has not given before.  The same file again adds
-- nothing.  Returns how many were sent and how many lines match nothing.
CREATE FUNCTION label_import(of_source text, by_whom text, file text,
                             OUT sent bigint, OUT unmatched bigint) LANGUAGE plpgsql AS $$
DECLARE
    first bigint := label_number(of_source, 0);  -- locks the source: nobody adds to it meanwhile
BEGIN
    CREATE TEMP TABLE label_fresh ON COMMIT DROP AS
    SELECT m.*, row_number() OVER (ORDER BY m.line) - 1 AS nth
    FROM (SELECT DISTINCT ON (tx_id, card, verdict, known) * FROM label_match
          WHERE reason IS NULL ORDER BY tx_id, card, verdict, known, line) m
    WHERE NOT EXISTS (SELECT FROM verdicts v
                      WHERE v.source = of_source AND v.tx_id = m.tx_id AND v.card = m.card
                        AND v.verdict = m.verdict AND v.known_time = m.known);
    SELECT count(*) INTO sent FROM label_fresh;
    SELECT count(*) INTO unmatched FROM label_match WHERE reason IS NOT NULL;
    first := label_number(of_source, sent);
    INSERT INTO verdicts (source, number, tx_id, card, verdict, known_time, who)
    SELECT of_source, first + nth, tx_id, card, verdict, known, by_whom FROM label_fresh;
    INSERT INTO label_outbox (source, number, tx_id, body)
    SELECT of_source, first + nth, tx_id,
           label_body(of_source, first + nth, tx_id, verdict, event_time, known, facts)
    FROM label_fresh ORDER BY nth;
    INSERT INTO audit (who, what, object, detail)
    VALUES (by_whom, 'labels import', of_source,
            jsonb_build_object('file', file, 'lines', (SELECT count(*) FROM label_match),
                               'sent', sent, 'unmatched', unmatched));
END $$;

-- Labels of all sources: `stored` came back by the labels topic, `waiting` are in the outbox, `sent`
-- are in between.
CREATE VIEW label_list AS
    SELECT source, number, tx_id, card, verdict, known_time, 'stored' AS state FROM labels
    UNION ALL
    SELECT v.source, v.number, v.tx_id, v.card, v.verdict, v.known_time,
           CASE WHEN o.id IS NULL THEN 'sent' ELSE 'waiting' END
    FROM verdicts v LEFT JOIN label_outbox o ON o.source = v.source AND o.number = v.number
    WHERE NOT EXISTS (SELECT FROM labels l WHERE l.source = v.source AND l.number = v.number);
