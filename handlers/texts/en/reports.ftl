## reader: administrator

reconciliation = Reconciliation with the portal
    .intro = The report compares what the portal shows with what we want it to show.
    .course = Most differences are put right without help: the state is sent again, and the next report shows whether that worked. What is unknown to us must be taken up with those who run the portal.
    .ids = Peer mentors are told by id and not by name, so that the page can be forwarded.
    .no-drift = The portal shows what it should.
    .incomplete = The portal's listing was not complete. What it lacks has not been judged.
    .dry-run = Dry run: nothing was sent.
    .verdicts = Verdicts
    .lag = How long the differences have lasted
    .runs = Differences over time
    .differences = Differences, the most dangerous first
    .differences-count = Differences
    .duplicates = Duplicate reminders and pauses
    .duplicates-meaning = The same was told or done more than once for one certificate. Somebody should look at it within a day.
    .credentials = Credentials at their last check

reconciliation-drift =
    { $count ->
        [0] No differences.
        [one] { $count } peer mentor is not shown as intended.
       *[other] { $count } peer mentors are not shown as intended.
    }

reconciliation-danger =
    { $count ->
        [0] Nobody who should be hidden is visible.
        [one] { $count } peer mentor should be hidden and is visible.
       *[other] { $count } peer mentors should be hidden and are visible.
    }

reconciliation-repaired =
    { $count ->
        [0] Nothing was sent again.
        [one] { $count } was sent again.
       *[other] { $count } were sent again.
    }

reconciliation-pushes = Pushes to phones: { $unknown } unknown, { $failed } failed.

reconciliation-alerts =
    { $count ->
        [0] No alert waits for somebody.
        [one] { $count } alert waits for somebody.
       *[other] { $count } alerts wait for somebody.
    }

reconciliation-left-out =
    { $count ->
        [one] { $count } more difference stands in the CSV file.
       *[other] { $count } more differences stand in the CSV file.
    }

duration-moment = under 1 min
duration-minutes = { $count } min
duration-hours = { $count } h
duration-days =
    { $count ->
        [one] { $count } day
       *[other] { $count } days
    }

lag-quarter = up to 15 min
lag-hour = up to 1 hour
lag-six-hours = up to 6 hours
lag-day = up to 24 hours
lag-longer = longer
lag-danger = Should be hidden and may be visible
lag-other = Others

column-mentor = Peer mentor
column-verdict = Verdict
column-ours = Ours
column-portal = Portal
column-public = Public page
column-lag = Duration
column-action = Action
column-count = Count
column-since = Since
column-chapter = Chapter
column-tier = Tier
column-recipient = Recipient

tier-days =
    { $days ->
        [one] { $days } day
       *[other] { $days } days
    }
tier-lapsed = Lapsed

integration-fcm = Pushes to phones
integration-portal = The portal
integration-portal-read = The portal, reading

state-visible = Visible
state-hidden = Hidden
state-absent = Absent

verdict-in-sync = In step
    .meaning = The portal shows what we want.
verdict-in-sync-absent = In step, not listed
    .meaning = The peer mentor should not be shown, and the portal does not know them.
verdict-pending = On its way
    .meaning = The change was sent a short while ago.
verdict-lagging = Stored, not published yet
    .meaning = The portal has stored the change and publishes it, as a rule within a quarter of an hour.
verdict-not-published = Not published
    .meaning = The portal has stored the change, and its public page still does not show it.
verdict-behind = Portal behind
    .meaning = The portal holds an older state than ours.
verdict-missing = Missing on the portal
    .meaning = The peer mentor should be shown, and the portal does not know them.
verdict-conflict = Contradiction
    .meaning = The portal and we disagree about the same change.
verdict-ahead = Portal ahead
    .meaning = The portal holds a state that we never sent.
verdict-orphan = Unknown to us
    .meaning = The portal shows a peer mentor we do not know. That is never put right by itself.

action-none = None
action-resent = Sent again
action-raise-requested = Being sent above the portal's version
action-planned-resend = Would be sent again
action-planned-raise = Would be sent above the portal's version
action-deferred = Left to the next reconciliation

finding-missing-coordinator = Without coordinator
    .meaning = No coordinator is assigned, and the chapter has none. Notices go to whoever stands nearest.
finding-mentor-without-chapter = Without chapter
    .meaning = The peer mentor belongs to no chapter.
finding-mentor-without-certificate = Without certificate
    .meaning = The peer mentor has no certificate. Nobody is paused for that.
finding-unknown-at-portal = Unknown to the portal
    .meaning = The portal has no such peer mentor, so it cannot show this one. Its owner must register them there.
finding-other = Something else
    .meaning = This finding has no explanation of its own yet.

step-1 = Assigned coordinator
step-2 = Coordinator of the chapter
step-3 = Administrator of the chapter
step-4 = Coordinator of the organisation
step-5 = Nobody

duplicate-reminder = Reminder
duplicate-push = Push
duplicate-pause = Pause

credential-accepted = Accepted
credential-rejected = Rejected
credential-unavailable = No answer
