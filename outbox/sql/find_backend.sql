-- find_backend: the process that serves this statement.
-- index: none, a function
-- why: a pooler gives its clients process ids of its own making; where this one differs from what the
--      connection was told, the next statement may be served by another.
select pg_backend_pid()
