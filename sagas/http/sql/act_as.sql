-- act_as: take on a role, a person's claims and the injected time until the transaction ends.
-- index: none (no table)
-- why: local to the transaction, so that a connection given back is nobody's again, behind a
--      transaction pooler too. A request that takes longer than its client waits is ended.
select
    set_config('role', %(role)s, true),
    set_config('request.jwt.claims', %(claims)s, true),
    set_config('app.now', %(now)s, true),
    set_config('statement_timeout', '8s', true)
