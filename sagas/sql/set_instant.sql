-- set_instant: let this transaction's triggers take `now` for the time.
-- index: none (no table)
-- why: a demonstration plays on any date; the setting ends with the transaction.
select set_config('app.now', %(now)s::timestamptz::text, true)
