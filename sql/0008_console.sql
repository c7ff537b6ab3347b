-- What the analysts' page looks for (storage/console.c).
CREATE INDEX transactions_card ON transactions (card, event_time);
CREATE INDEX alerts_event_time ON alerts (event_time);
CREATE INDEX alerts_resolved ON alerts (resolved_at DESC, id DESC) WHERE verdict IS NOT NULL;
