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
    exponent     smallint    NOT NULL,   -- decimals of amount_minor
    amount_ref   bigint      NOT NULL,   -- 1/100 of the reference currency, as it was scored
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

-- The analysts' queue; sql/0002_queue.sql has what works on it.
CREATE TABLE alerts (
    -- the identity of its decision, as everywhere
    id           text        GENERATED ALWAYS AS (log || '/' || part::text || '/' || log_offset::text)
                             STORED PRIMARY KEY,
    log          text        NOT NULL,
    part         integer     NOT NULL,
    log_offset   bigint      NOT NULL,
    event_time   timestamptz NOT NULL,
    tx_id        text        NOT NULL,
    card         text        NOT NULL,
    amount_minor bigint      NOT NULL,
    currency     text        NOT NULL,
    exponent     smallint    NOT NULL,
    amount_ref   bigint      NOT NULL,
    score        double precision,       -- NULL: could not be computed
    outcome      text        NOT NULL,
    model        text        NOT NULL,
    body         jsonb       NOT NULL,   -- the message of the alerts topic
    -- Doubling the expected loss counts as much as a day of waiting: log2(loss) - days.  Both grow
    -- or stand still together for all alerts, so the order never changes and an index holds it.
    -- An alert without a score counts as certain, one without an amount as .01.
    priority     double precision GENERATED ALWAYS AS (
        ln(greatest(coalesce(score, 1) * amount_ref / 100.0, .01::double precision))
            / ln(2::double precision)
        - extract(epoch FROM event_time - timestamptz '2000-01-01 00:00:00+00')
            ::double precision / 86400) STORED,
    state        text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'claimed', 'resolved')),
    claimed_by   text,
    claimed_at   timestamptz,
    lease_until  timestamptz,
    verdict      text        CHECK (verdict IN ('fraud', 'legitimate', 'unsure')),
    resolved_by  text,
    resolved_at  timestamptz,
    note         text,
    CHECK ((state = 'claimed') = (claimed_by IS NOT NULL)),
    CHECK ((state = 'claimed') = (lease_until IS NOT NULL)),
    CHECK ((state = 'resolved') = (verdict IS NOT NULL))
)
-- Claimed alerts leave dead entries at the head of alerts_open, which every claim walks over until
-- a vacuum takes them away: do not wait for a fifth of the table.
WITH (autovacuum_vacuum_scale_factor = .01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX alerts_open ON alerts (priority DESC) WHERE state = 'open';
CREATE INDEX alerts_leases ON alerts (lease_until) WHERE state = 'claimed';
CREATE INDEX alerts_tx_id ON alerts (tx_id);
CREATE INDEX alerts_card ON alerts (card);
-- declined payments without a verdict are unknown to training
CREATE INDEX alerts_declined ON alerts (event_time) WHERE outcome = 'decline';

-- Labels as they came by the labels topic.
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
CREATE INDEX labels_known_time ON labels (known_time);

-- Verdicts given here (queue, imports), each with its label's number; and those labels that `sink`
-- has not yet published.  sql/0003_labels.sql says how numbers are given.
CREATE TABLE verdicts (
    source     text        NOT NULL,
    number     bigint      NOT NULL,
    tx_id      text        NOT NULL,
    card       text        NOT NULL,
    verdict    text        NOT NULL CHECK (verdict IN ('fraud', 'legitimate', 'withdrawn')),
    known_time timestamptz NOT NULL,
    who        text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, number)
);
CREATE INDEX verdicts_tx_id ON verdicts (tx_id);
CREATE TABLE label_outbox (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text   NOT NULL,
    number bigint NOT NULL,
    tx_id  text   NOT NULL,
    body   jsonb  NOT NULL,
    UNIQUE (source, number)
);
CREATE TABLE label_sources (
    source text   PRIMARY KEY,
    number bigint NOT NULL   -- the latest one given
);

-- Every trained model; sql/0004_models.sql says who is champion.
CREATE TABLE models (
    version  text        PRIMARY KEY,
    created  timestamptz NOT NULL DEFAULT now(),
    state    text        NOT NULL DEFAULT 'candidate'
             CHECK (state IN ('candidate', 'champion', 'former', 'withdrawn')),
    promoted timestamptz,                -- when it last became champion
    retired  timestamptz,                -- when it last ceased to be
    weights  bytea       NOT NULL,       -- the model file
    training bytea,                      -- its training state
    lineage  jsonb       NOT NULL,
    metrics  jsonb       NOT NULL
);
CREATE UNIQUE INDEX models_champion ON models (state) WHERE state = 'champion';

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
    who    text NOT NULL,                         -- the person, as the caller says
    role   text NOT NULL DEFAULT session_user,    -- the database user
    what   text NOT NULL,                         -- 'alert claim', 'model promote', ..
    object text NOT NULL,                         -- the alert, model or source it was done to
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_object ON audit (object);
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
                BEGIN
                    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                                   name, base, month::text || '+00',
                                   (month + interval '1 month')::text || '+00');
                EXCEPTION
                    WHEN duplicate_table THEN NULL;  -- another sink was faster
                    WHEN check_violation THEN NULL;  -- the default partition has rows of it
                END;
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

-- "2026-04-01T12:30:05.123456Z", as in the wire formats.
CREATE FUNCTION iso_time(t timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- 5716 with 2 decimals: "57.16".
CREATE FUNCTION money_text(minor bigint, exponent integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN exponent = 0 THEN minor::text
                ELSE (minor / (10 ^ exponent)::bigint)::text || '.'
                     || lpad((minor % (10 ^ exponent)::bigint)::text, exponent, '0') END
$$;
