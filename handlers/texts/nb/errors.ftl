### What a person is told when something cannot be done, and when it was.

## reader: everyone

error-not-signed-in = Du er ikke logget inn.
    .action = Logg inn og prøv igjen.
error-forbidden = Du har ikke tilgang til dette.
    .action = Spør administratoren i organisasjonen din om du mener du skal ha tilgang.
error-not-found = Det du leter etter, finnes ikke, eller du har ikke tilgang til det.
error-invalid-request = Noe i skjemaet er ikke gyldig.
    .action = Rett det som er merket, og prøv igjen.
error-too-large = Det du sendte, er for stort.
error-conflict = Noen andre har endret dette i mellomtiden.
    .action = Last siden på nytt og prøv igjen.
error-unavailable = Tjenesten er ikke tilgjengelig akkurat nå.
    .action = Prøv igjen om noen minutter. Ingenting av det du har gjort, er gått tapt.
error-unexpected = Noe gikk galt hos oss.
    .action = Prøv igjen. Hjelper det ikke, meld fra og oppgi tidspunktet.

## reader: mentor

error-own-certificate-pause = Pausen skyldes at sertifikatet er utløpt, og kan ikke oppheves av deg selv.
    .action = Forny sertifikatet, så oppheves pausen.

## reader: coordinator

error-no-channel = Organisasjonen viser ingen likepersoner på portalen, så det er ingenting å sende.
error-certificate-lapsed = Sertifikatet er utløpt, så pausen kan ikke oppheves.
    .action = Forny sertifikatet først.
error-inactive = Likepersonen er ikke lenger med.
error-state-differs = Likepersonens status er en annen enn den du vil varsle om.
error-nothing-to-retry = Det er ingenting å prøve på nytt. Det kan være levert allerede.

button-retry = Prøv igjen nå
button-force = Send på nytt

# $count (0 | 1 | 2): changes on their way to the portal
retry-done =
    { $count ->
        [0] Ingenting ventet: portalen har bekreftet, eller svarer akkurat nå.
       *[other] Vi prøver igjen nå. Det tar vanligvis under ett minutt.
    }
force-done = Synligheten sendes til portalen på nytt. Det tar vanligvis under ett minutt.
paused-done = Likepersonen er satt på pause og vises ikke lenger.
reactivated-done = Likepersonen er aktiv igjen.
