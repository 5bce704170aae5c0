### Pushes and inbox rows, by kind and reader. They name nobody: a push lies open on a lock screen.
### A line `$name (a | b)` tells what stands for a variable, and what the page of texts shows for it.

## reader: mentor

# A certificate is in one of its tiers.
# $days (60 | 30 | 7 | 1): the tier, in days before the last valid day
# $urgency (calm | calm | urgent | urgent): urgent in the last week
cert-expiry-reminder-mentor =
    .title =
        { $urgency ->
            [urgent] Sertifikatet ditt utløper om få dager
           *[calm] Sertifikatet ditt utløper snart
        }
    .body =
        { $days ->
            [one] Det er { $days } dag eller mindre igjen. Trykk for å fornye.
           *[other] Det er { $days } dager eller mindre igjen. Trykk for å fornye.
        }

# The last valid day is past.
cert-lapsed-mentor =
    .title = Sertifikatet ditt er utløpt
    .body = Du vises ikke lenger for nye kontakter. Trykk for å fornye.

# Somebody, or a lapsed certificate, has paused the reader.
# $cause (certificate | other): why
mentor-paused-mentor =
    .title = Du er satt på pause
    .body =
        { $cause ->
            [certificate] Sertifikatet er utløpt. Trykk for å fornye.
           *[other] Åpne appen for detaljer.
        }

mentor-reactivated-mentor =
    .title = Du er aktiv igjen
    .body = Pausen er opphevet.

# A contact is due a follow-up by one of the organisation's rules.
scenario-prompt-mentor =
    .title = Tid for oppfølging
    .body = En av kontaktene dine bør følges opp. Åpne appen for detaljer.

sync-alert-mentor =
    .title = Synligheten oppdateres
    .body = Visningen på portalen er ikke bekreftet ennå.

## reader: coordinator

# $days (30 | 14 | 7 | 1): the tier, in days before the last valid day
# $urgency (calm | calm | urgent | urgent): urgent in the last week
cert-expiry-reminder-coordinator =
    .title =
        { $urgency ->
            [urgent] Et sertifikat utløper om få dager
           *[calm] Et sertifikat utløper snart
        }
    .body =
        { $days ->
            [one] En likeperson har { $days } dag eller mindre igjen. Åpne appen for detaljer.
           *[other] En likeperson har { $days } dager eller mindre igjen. Åpne appen for detaljer.
        }

cert-lapsed-coordinator =
    .title = Et sertifikat er utløpt
    .body = En likeperson trenger oppfølging. Åpne appen for detaljer.

# $cause (certificate | other): why
mentor-paused-coordinator =
    .title = En likeperson er satt på pause
    .body =
        { $cause ->
            [certificate] Sertifikatet er utløpt. Åpne appen for detaljer.
           *[other] Åpne appen for detaljer.
        }

mentor-reactivated-coordinator =
    .title = En likeperson er aktiv igjen
    .body = Pausen er opphevet. Åpne appen for detaljer.

scenario-prompt-coordinator =
    .title = Tid for oppfølging
    .body = En kontakt bør følges opp. Åpne appen for detaljer.

sync-alert-coordinator =
    .title = Synkronisering venter
    .body = En likeperson kan fortsatt være synlig på portalen. Åpne appen for detaljer.

# One push for several mentors: what most of it is about.
# $topic (certificates | paused | reactivated | unconfirmed): what it is about
digest-title =
    { $topic ->
        [paused] Likepersoner satt på pause
        [reactivated] Likepersoner aktive igjen
        [unconfirmed] Synkronisering venter
       *[certificates] Sertifikater som utløper
    }

# How many mentors need follow-up, how many of them soon, and how many in each tier.
# $count (1 | 3 | 12): mentors
# $pressing (0 | 1 | 4): of these, lapsed or in the last week
# $tiers (1 innen 30 dager | 1 utløpt, 2 innen 30 dager | 4 innen 7 dager, 8 innen 30 dager): counts per tier, most urgent first
digest-follow-up =
    { $count ->
        [one] { $count } likeperson trenger oppfølging
       *[other] { $count } likepersoner trenger oppfølging
    }{ $pressing ->
        [0] : { $tiers }.
       *[other] {" "}({ $pressing } haster): { $tiers }.
    }

# One tier within a digest.
# $count (1 | 2): certificates
digest-lapsed = { $count } utløpt

# $count (1 | 2): certificates
# $days (1 | 14): the tier
digest-tier =
    { $days ->
        [one] { $count } innen { $days } dag
       *[other] { $count } innen { $days } dager
    }

# $count (1 | 2): mentors
digest-paused = { $count } er satt på pause.

# $count (1 | 2): mentors
digest-reactivated =
    { $count ->
        [one] { $count } er aktiv igjen.
       *[other] { $count } er aktive igjen.
    }

# $count (1 | 2): mentors whose visibility the portal has not confirmed
digest-unconfirmed =
    { $count ->
        [one] { $count } kan fortsatt være synlig på portalen.
       *[other] { $count } kan fortsatt være synlige på portalen.
    }

## reader: everyone

# Ends a push whose first try nobody can account for.
may-arrive-again = Denne meldingen kan komme to ganger.
