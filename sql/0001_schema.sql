-- What fraudd keeps in PostgreSQL: history, decisions, labels, the alert queue, models.
-- Keys of partitioned tables hold the event time; rows outside every month go to the default partition.

CREATE TABLE transactions (
    event_time   timestamptz NOT NULL,
    log          text        NOT NULL,
    part         integer     NOT NULL,
    log_offset   bigint      NOT NULL,
    tx_id        text        NOT NULL,
    card         text        NOT NULL,
    type         text        NOT NULL,
    amount_minor bigint      NOT NULL CHECK (amount_minor >= 0),
    currency     text        NOT NULL,
    amount_ref   bigint      NOT NULL,
    merchant     text,
    terminal     text,
    mcc          integer,
    country      text,
    channel      text,
    entry        text,
    device       text,
    ip           text,
    lat          real,
    lon          real,
    PRIMARY KEY (log, part, log_offset, event_time)
) PARTITION BY RANGE (event_time);
CREATE TABLE transactions_default PARTITION OF transactions DEFAULT;
CREATE INDEX transactions_tx_id ON transactions (tx_id);

CREATE TABLE decisions (
    event_time   timestamptz NOT NULL,
    log          text        NOT NULL,
    part         integer     NOT NULL,
    log_offset   bigint      NOT NULL,
    tx_id        text        NOT NULL,
    score        double precision,
    threshold    double precision,
    outcome      text        NOT NULL CHECK (outcome IN ('approve', 'review', 'decline')),
    model        text        NOT NULL,
    schema_hash  text        NOT NULL,
    revision     integer     NOT NULL,
    repeated     boolean     NOT NULL,
    amount_ratio real        NOT NULL,
    PRIMARY KEY (log, part, log_offset, event_time)
) PARTITION BY RANGE (event_time);
CREATE TABLE decisions_default PARTITION OF decisions DEFAULT;
CREATE INDEX decisions_tx_id ON decisions (tx_id);

CREATE TABLE alerts (
    log          text        NOT NULL,
    part         integer     NOT NULL,
    log_offset   bigint      NOT NULL,
    event_time   timestamptz NOT NULL,
    tx_id        text        NOT NULL,
    card         text        NOT NULL,
    amount_minor bigint      NOT NULL,
    currency     text        NOT NULL,
    score        double precision,
    outcome      text        NOT NULL,
    model        text        NOT NULL,
    body         jsonb       NOT NULL,
    state        text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'claimed', 'resolved')),
    claimed_by   text,
    claimed_at   timestamptz,
    verdict      text        CHECK (verdict IN ('fraud', 'legitimate')),
    resolved_by  text,
    resolved_at  timestamptz,
    note         text,
    PRIMARY KEY (log, part, log_offset)
);
CREATE INDEX alerts_open ON alerts (score DESC) WHERE state <> 'resolved';
CREATE INDEX alerts_tx_id ON alerts (tx_id);

CREATE TABLE labels (
    source       text        NOT NULL,
    number       bigint      NOT NULL,
    tx_id        text        NOT NULL,
    verdict      text        NOT NULL CHECK (verdict IN ('fraud', 'legitimate', 'withdrawn')),
    event_time   timestamptz NOT NULL,
    known_time   timestamptz NOT NULL,
    card         text        NOT NULL,
    body         jsonb       NOT NULL,
    PRIMARY KEY (source, number)
);
CREATE INDEX labels_tx_id ON labels (tx_id);

-- Verdicts on their way to the labels topic; `sink` publishes and deletes them.
CREATE SEQUENCE label_numbers;
CREATE TABLE label_outbox (
    number  bigint PRIMARY KEY,
    body    jsonb  NOT NULL
);

CREATE TABLE models (
    version   text PRIMARY KEY,
    created   timestamptz NOT NULL DEFAULT now(),
    state     text NOT NULL DEFAULT 'candidate'
              CHECK (state IN ('candidate', 'champion', 'former')),
    weights   bytea NOT NULL,
    training  bytea,
    lineage   jsonb NOT NULL
);

CREATE TABLE sink_offsets (
    topic       text    NOT NULL,
    part        integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (topic, part)
);

-- Messages that PostgreSQL refused, one row each, with what it said.
CREATE TABLE rejects (
    topic      text        NOT NULL,
    part       integer     NOT NULL,
    log_offset bigint      NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    sqlstate   text        NOT NULL,
    message    text        NOT NULL,
    raw        bytea       NOT NULL,
    PRIMARY KEY (topic, part, log_offset)
);

CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    who    text NOT NULL DEFAULT session_user,
    what   text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE RULE audit_no_update AS ON UPDATE TO audit DO INSTEAD NOTHING;
CREATE RULE audit_no_delete AS ON DELETE TO audit DO INSTEAD NOTHING;

-- Makes the monthly partitions that hold [first, last].
CREATE FUNCTION ensure_partitions(first timestamptz, last timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', first AT TIME ZONE 'UTC');
    name  text;
    base  text;
BEGIN
    WHILE month <= last AT TIME ZONE 'UTC' LOOP
        FOREACH base IN ARRAY ARRAY['transactions', 'decisions'] LOOP
            name := base || '_' || to_char(month, 'YYYY_MM');
            IF to_regclass(name) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name,
                               base, month::text || '+00', (month + interval '1 month')::text || '+00');
            END IF;
        END LOOP;
        month := month + interval '1 month';
    END LOOP;
END $$;

-- Drops the monthly partitions that end before `keep_from`; returns how many.
CREATE FUNCTION drop_partitions_before(keep_from timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    child text;
    dropped integer := 0;
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('transactions'::regclass, 'decisions'::regclass)
          AND c.relname ~ '_[0-9]{4}_[0-9]{2}$'
          AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= keep_from AT TIME ZONE 'UTC'
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
