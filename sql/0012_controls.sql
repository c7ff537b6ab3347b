-- What people decided in the model's place: NULL where it was the model.
ALTER TABLE decisions
    ADD COLUMN control text, -- block/card/.., rule/NAME, ..: what set the outcome
    ADD COLUMN would   text  -- mode observe: outcome is approve, this it would have been
        CHECK (would IN ('approve', 'review', 'decline'));
