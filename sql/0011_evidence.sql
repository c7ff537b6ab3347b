-- What decisions were computed from, of every alert and of a sample of the others (setting
-- explain.sample): NULL elsewhere.  As long as the decision, because it lies in its row.
ALTER TABLE decisions
    ADD COLUMN journal_offset bigint,   -- of the entry that recorded the payment
    ADD COLUMN labels_next    bigint,   -- labels and notices below these offsets were in force
    ADD COLUMN notices_next   bigint,
    ADD COLUMN features       real[] CHECK (cardinality(features) = 128);
