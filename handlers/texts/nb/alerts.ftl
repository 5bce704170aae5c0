### Alerts of the dashboard: the text, what it means, and what the reader does about it.

## reader: coordinator

# The organisations agreed on this text, in these words and with this dash, in every language.
alert-dynamics-sync-pending = Dynamics sync pending — mentor may still be visible on portal
    .meaning = Vi har endret synligheten til en likeperson, men portalen har ikke bekreftet det ennå. Likepersonen kan fortsatt stå på den offentlige siden.
    .action = Vent noen minutter; vi prøver igjen av oss selv. Haster det, trykk «Prøv igjen nå».

# The portal answered that it has no such mentor. What is missing in our own data opens no alert.
alert-data-quality = Opplysninger må rettes — portalen kjenner ikke en likeperson
    .meaning = Portalen har ingen oppføring for likepersonen og kan derfor ikke ta imot endringen vår. Våre egne lister viser det de skal.
    .action = Be dem som drifter portalen om å registrere likepersonen. Vi prøver igjen hver time, og varselet lukker seg selv når det har lyktes.

## reader: administrator

alert-portal-ahead = Portalen har en nyere versjon enn vår — sammenlign før mer sendes
    .meaning = Portalen viser en tilstand vi aldri har sendt. Det skjer når noen har endret den der, eller når en kopi av systemet er i bruk.
    .action = Finn ut hvem som har endret portalen. Er vår tilstand den riktige, trykk «Send på nytt».

alert-duplicate-dispatch = Den samme påminnelsen kan være sendt to ganger — se over
    .meaning = Kontrollen etter nattens kjøring fant mer enn ett levert varsel for det samme sertifikatet.
    .action = Se over innen et døgn og lukk varselet med en merknad.

alert-duplicate-log-entries = Doble oppføringer i påminnelsesloggen — se over
    .meaning = Avstemmingen fant den samme påminnelsen eller pausen mer enn én gang.
    .action = Se over innen et døgn og lukk varselet med en merknad.

alert-invalid-policy = Innstillingene for påminnelser er ikke gyldige — standarden gjelder
    .meaning = Organisasjonens egne grenser kan ikke brukes. Til de er rettet, gjelder standarden for denne organisasjonen alene.
    .action = Åpne innstillingene, rett det som er merket, og lagre på nytt.

## reader: operator

alert-credential-failure = Påloggingen er avvist — ingenting sendes før kontrollen går gjennom
    .meaning = Portalen eller varslingstjenesten godtar ikke lenger hvem vi er. Alt som venter, blir liggende og går ut når påloggingen virker.
    .action = Følg veiledningen for bytte av nøkler. Varselet lukker seg selv når kontrollen går gjennom; gjelder det nøklene for Apple eller nettet, må noen lukke det.

alert-integration-unavailable = Integrasjonen svarer ikke — det som venter, sendes når den svarer
    .meaning = Tre kontroller på rad fikk ikke svar fra portalen eller varslingstjenesten. Ingenting går tapt, og det som venter, sendes når den svarer igjen.
    .action = Se på nettverket, og på hva den andre siden melder om driften sin. Varselet lukker seg selv.

alert-endpoint-retired = Portalens adresse er nedlagt — ingen endring når portalen
    .meaning = Portalen svarer at adressen ikke lenger finnes.
    .action = Spør portalens eier om den nye adressen, og legg den inn.

alert-payload-rejected = En melding ble avvist fordi den var feil bygget
    .meaning = Mottakeren forsto ikke meldingen. Å sende den på nytt hjelper ikke.
    .action = Meld feilen til utviklerne med tidspunktet for varselet. Når den er rettet, må noen lukke varselet.

## reader: everyone

# Stands for a type that a newer release has opened.
alert-other = Noe krever oppmerksomhet
    .meaning = Varselet har ingen egen forklaring ennå.
    .action = Spør administratoren hva det gjelder.
