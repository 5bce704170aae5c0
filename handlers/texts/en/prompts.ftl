## reader: coordinator

# $anchor (first contact): one of the anchors below
prompt-when =
    { $days ->
        [0] Send on the day of { $anchor }
        [one] Send { $days } day after { $anchor }
       *[other] Send { $days } days after { $anchor }
    }
prompt-anchor-first-contact = first contact
prompt-anchor-last-contact = last contact
prompt-anchor-activity-registered = registration of an activity
prompt-anchor-activity-completed = completion of an activity

# $sentence (Send 3 days after first contact): the sentence so far
# $conditions (wellbeing concern was flagged): one or several of those below
prompt-if = { $sentence } if { $conditions }
# $flag (wellbeing concern): what was flagged
prompt-flagged = { $flag } was flagged
# $flag (wish for follow-up): what was not flagged
prompt-not-flagged = { $flag } was not flagged
# $code (relative present): its code, read as words
prompt-quoted-flag = “{ $code }”
prompt-flag-wellbeing-concern = wellbeing concern
prompt-flag-follow-up-wanted = wish for follow-up
prompt-flag-difficult-conversation = difficult conversation
prompt-flag-referred-onwards = referral to others

# $sentence (Send 3 days after first contact): the sentence so far
# $events (a follow-up has been registered): what makes the prompt needless
prompt-unless = { $sentence } unless { $events }
prompt-event-follow-up-registered = a follow-up has been registered
# $first (wellbeing concern was flagged): one part
# $second (wish for follow-up was not flagged): one more
prompt-both = { $first } and { $second }

prompt-reason-not-yet = The day of the prompt has not come yet.
prompt-reason-too-late = The day of the prompt passed more than three days ago.
prompt-reason-before-enabled = The activity took place before the rule was enabled.
prompt-reason-other-activity = The rule is about another kind of activity.
prompt-reason-condition-not-met = The activity does not meet the rule's conditions.
prompt-reason-followed-up = A follow-up has been registered since.
prompt-reason-overtaken = There has been a later contact with the same person.
prompt-reason-mentor-left = The peer mentor is no longer with us.
