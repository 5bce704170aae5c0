-- told_counts: inbox rows and pushes, by how they stand.
-- index: none, a count for a report
-- why: a second run must leave every count as it was.
select
    (select count(*) from notifications) as inbox_rows,
    (select count(distinct idempotency_key) from notifications) as inbox_keys,
    (select count(*) from notification_groups) as groups,
    (select count(*) from notification_groups where status = 'delivered') as delivered,
    (select count(*) from notification_groups where status = 'no_token') as no_token,
    (select count(*) from notification_groups where status = 'unknown') as unknown,
    (select count(*) from notification_groups where status in ('failed', 'expired')) as failed,
    (select count(*) from notification_groups where status = 'cancelled') as cancelled,
    (select count(*) from notification_groups where status in ('queued', 'sending')) as queued,
    (select count(*) from cert_expiry_reminders where status = 'claimed') as reminders,
    (
        select count(*)
        from outbox.dead_letter
        where handler <> 'fcm' or reason not in ('address_unregistered', 'address_malformed', 'address_mismatch')
    ) as dead_for_other_reasons,
    (select count(*) from peer_mentors where status = 'paused' and pause_source = 'certificate_expired') as paused
