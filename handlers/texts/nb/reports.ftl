### Reports: the reconciliation with the portal, duplicates, missing data, and the night's run.

## reader: administrator

reconciliation = Avstemming med portalen
    .intro = Rapporten sammenligner hva portalen viser, med hva vi ønsker at den skal vise.
    .course = De fleste avvik rettes uten hjelp: tilstanden sendes på nytt, og neste rapport viser om det hjalp. Det som er ukjent hos oss, må tas opp med dem som drifter portalen.
    .ids = Likepersonene står med id, ikke med navn, så siden kan sendes videre.
    .no-drift = Portalen viser det den skal.
    .incomplete = Listen fra portalen var ikke fullstendig. Det som mangler i den, er ikke vurdert.
    .dry-run = Prøvekjøring: ingenting er sendt.
    .verdicts = Vurderinger
    .lag = Hvor lenge avvikene har vart
    .runs = Avvik over tid
    .differences = Avvik, det farligste først
    .differences-count = Avvik
    .duplicates = Doble påminnelser og pauser
    .duplicates-meaning = Det samme er fortalt eller gjort mer enn én gang for ett sertifikat. Noen bør se på det innen et døgn.
    .credentials = Pålogging ved siste kontroll

# $count (0 | 1 | 12): mentors
reconciliation-drift =
    { $count ->
        [0] Ingen avvik.
        [one] { $count } likeperson vises ikke som den skal.
       *[other] { $count } likepersoner vises ikke som de skal.
    }

# $count (0 | 1 | 12): mentors
reconciliation-danger =
    { $count ->
        [0] Ingen som skulle vært skjult, er synlig.
        [one] { $count } likeperson skulle vært skjult, men er synlig.
       *[other] { $count } likepersoner skulle vært skjult, men er synlige.
    }

# $count (0 | 1 | 12): mentors whose state was sent again
reconciliation-repaired =
    { $count ->
        [0] Ingenting er sendt på nytt.
        [one] { $count } er sendt på nytt.
       *[other] { $count } er sendt på nytt.
    }

# $unknown (0 | 1): pushes of which nobody knows whether they arrived
# $failed (2 | 1): pushes that did not arrive
reconciliation-pushes = Varsler på telefonen: { $unknown } uvisse, { $failed } mislykkede.

# $count (0 | 1 | 3): open alerts
reconciliation-alerts =
    { $count ->
        [0] Ingen varsler venter på oppfølging.
        [one] { $count } varsel venter på oppfølging.
       *[other] { $count } varsler venter på oppfølging.
    }

# $count (1 | 40): differences beyond those the page shows
reconciliation-left-out =
    { $count ->
        [one] { $count } avvik til står i CSV-filen.
       *[other] { $count } avvik til står i CSV-filen.
    }

duration-moment = under 1 min
# $count (1 | 59): minutes
duration-minutes = { $count } min
# $count (1 | 47): hours
duration-hours = { $count } t
# $count (2 | 40): days
duration-days = { $count } døgn

lag-quarter = inntil 15 min
lag-hour = inntil 1 time
lag-six-hours = inntil 6 timer
lag-day = inntil 24 timer
lag-longer = lenger
lag-danger = Skulle vært skjult, men kan være synlig
lag-other = Andre

column-mentor = Likeperson
column-verdict = Vurdering
column-ours = Hos oss
column-portal = På portalen
column-public = Offentlig side
column-lag = Varighet
column-action = Tiltak
column-count = Antall
column-since = Siden
column-chapter = Lokallag
column-tier = Frist
column-recipient = Mottaker

# $days (30 | 1): the tier, in days before the last valid day
tier-days =
    { $days ->
        [one] { $days } dag
       *[other] { $days } dager
    }
tier-lapsed = Utløpt

integration-fcm = Varsler på telefonen
integration-portal = Portalen
integration-portal-read = Portalen, lesing

state-visible = Synlig
state-hidden = Skjult
state-absent = Finnes ikke

verdict-in-sync = Stemmer
    .meaning = Portalen viser det vi ønsker.
verdict-in-sync-absent = Stemmer, ikke oppført
    .meaning = Likepersonen skal ikke vises, og portalen kjenner ikke vedkommende.
verdict-pending = Underveis
    .meaning = Endringen er sendt for kort tid siden.
verdict-lagging = Lagret, ikke publisert ennå
    .meaning = Portalen har lagret endringen og publiserer den som regel innen et kvarter.
verdict-not-published = Ikke publisert
    .meaning = Portalen har lagret endringen, men den offentlige siden viser den fortsatt ikke.
verdict-behind = Portalen henger etter
    .meaning = Portalen har en eldre tilstand enn vår.
verdict-missing = Mangler på portalen
    .meaning = Likepersonen skal vises, men portalen kjenner ikke vedkommende.
verdict-conflict = Motstrid
    .meaning = Portalen og vi er uenige om den samme endringen.
verdict-ahead = Portalen er foran
    .meaning = Portalen har en tilstand vi aldri har sendt.
verdict-orphan = Ukjent hos oss
    .meaning = Portalen viser en likeperson vi ikke kjenner. Det rettes aldri av seg selv.

action-none = Ingen
action-resent = Sendt på nytt
action-raise-requested = Sendes over portalens versjon
action-planned-resend = Ville blitt sendt på nytt
action-planned-raise = Ville blitt sendt over portalens versjon
action-deferred = Utsatt til neste avstemming

finding-missing-coordinator = Uten koordinator
    .meaning = Ingen koordinator er tildelt, og lokallaget har ingen. Varsler går til den som står nærmest.
finding-mentor-without-chapter = Uten lokallag
    .meaning = Likepersonen er ikke medlem av noe lokallag.
finding-mentor-without-certificate = Uten sertifikat
    .meaning = Likepersonen har ikke noe sertifikat. Ingen settes på pause av den grunn.
finding-unknown-at-portal = Ukjent for portalen
    .meaning = Portalen har ingen slik likeperson, og kan derfor ikke vise vedkommende. Portalens eier må registrere likepersonen der.
finding-other = Noe annet
    .meaning = Denne mangelen har ingen egen forklaring ennå.

# Who was told in place of the coordinator.
step-1 = Tildelt koordinator
step-2 = Koordinator i lokallaget
step-3 = Administrator i lokallaget
step-4 = Koordinator i organisasjonen
step-5 = Ingen

duplicate-reminder = Påminnelse
duplicate-push = Varsel på telefonen
duplicate-pause = Pause

credential-accepted = Godtatt
credential-rejected = Avvist
credential-unavailable = Svarte ikke
