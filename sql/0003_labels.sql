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
