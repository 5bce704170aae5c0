### Rules of follow-up in plain words. Different rules read differently: nothing of a rule is left out of its sentence.

## reader: coordinator

# $days (0 | 1 | 3): after the anchor
# $anchor (første kontakt): one of the anchors below
prompt-when =
    { $days ->
        [0] Send samme dag som { $anchor }
        [one] Send { $days } dag etter { $anchor }
       *[other] Send { $days } dager etter { $anchor }
    }
prompt-anchor-first-contact = første kontakt
prompt-anchor-last-contact = siste kontakt
prompt-anchor-activity-registered = registrering av en aktivitet
prompt-anchor-activity-completed = gjennomføring av en aktivitet

# $sentence (Send 3 dager etter første kontakt): the sentence so far
# $conditions (bekymring for trivsel ble meldt): one or several of those below
prompt-if = { $sentence } hvis { $conditions }
# $flag (bekymring for trivsel): what was flagged
prompt-flagged = { $flag } ble meldt
# $flag (ønske om oppfølging): what was not flagged
prompt-not-flagged = { $flag } ikke ble meldt
# A flag that has no words of its own yet.
# $code (pårørende med): its code, read as words
prompt-quoted-flag = «{ $code }»
prompt-flag-wellbeing-concern = bekymring for trivsel
prompt-flag-follow-up-wanted = ønske om oppfølging
prompt-flag-difficult-conversation = vanskelig samtale
prompt-flag-referred-onwards = henvisning videre

# $sentence (Send 3 dager etter første kontakt): the sentence so far
# $events (en oppfølging er registrert): what makes the prompt needless
prompt-unless = { $sentence } med mindre { $events }
prompt-event-follow-up-registered = en oppfølging er registrert
# $first (bekymring for trivsel ble meldt): one part
# $second (ønske om oppfølging ikke ble meldt): one more
prompt-both = { $first } og { $second }

# Why a rule sends nothing for an activity.
prompt-reason-not-yet = Dagen for påminnelsen er ikke kommet ennå.
prompt-reason-too-late = Dagen for påminnelsen er mer enn tre dager siden.
prompt-reason-before-enabled = Aktiviteten fant sted før regelen ble slått på.
prompt-reason-other-activity = Regelen gjelder en annen type aktivitet.
prompt-reason-condition-not-met = Aktiviteten oppfyller ikke regelens vilkår.
prompt-reason-followed-up = En oppfølging er registrert siden.
prompt-reason-overtaken = Det har vært en senere kontakt med samme person.
prompt-reason-mentor-left = Likepersonen er ikke lenger med.
