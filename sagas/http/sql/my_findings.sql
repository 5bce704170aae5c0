-- my_findings: open findings about the data of whom the caller answers for, the longest open first.
-- index: data_quality_findings_organisation_idx (organisation_id, found_at)
-- why: the policy says whose; a finding closes itself once fixed (REC-8).
select
    f.id, f.kind, f.organisation_id, f.chapter_id, f.mentor_id, f.step, f.found_at, f.last_seen_at
from data_quality_findings as f
where f.resolved_at is null
order by f.found_at, f.id
limit %(limit)s
