-- heads: what the schema lacks for the variant that looks for the head of each key
CREATE INDEX outbox_key_idx ON outbox (key, id);
