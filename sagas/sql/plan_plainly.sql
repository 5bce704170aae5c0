-- plan_plainly: let the rest of this transaction do without compiled plans.
-- index: none (no table)
-- why: what a night asks is over in a tenth of the time that compiling it takes (708 of 904 ms);
--      of the transaction alone, so that it holds behind a pooler too.
set local jit = off
