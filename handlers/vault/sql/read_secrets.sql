-- read_secrets: the secrets of ours that the vault holds, decrypted.
-- index: none (a handful of secrets, which the view decrypts one by one)
-- why: names are given, so that nothing else of the vault leaves it.
select s.name, s.decrypted_secret
from vault.decrypted_secrets as s
where s.name = any(%(names)s::text[]) and s.decrypted_secret is not null
