-- receipt: what the schema lacks for the variants that keep a receipt, mark what begins or lease keys
CREATE TABLE receipt (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id bigint NOT NULL,
  attempt int NOT NULL,
  outcome text NOT NULL,
  relay text,
  settled_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE outbox ADD COLUMN begun_at timestamptz;
CREATE UNLOGGED TABLE key_lease (
  handler text NOT NULL,
  key text NOT NULL,
  token text NOT NULL,
  until timestamptz NOT NULL,
  PRIMARY KEY (handler, key)
);
