-- receipt: what the schema lacks for the variants that keep a receipt and mark what begins
CREATE TABLE receipt (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id bigint NOT NULL,
  attempt int NOT NULL,
  outcome text NOT NULL,
  relay text,
  settled_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE outbox ADD COLUMN begun_at timestamptz;
