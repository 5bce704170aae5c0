## reader: coordinator

alert-dynamics-sync-pending = Dynamics sync pending — mentor may still be visible on portal
    .meaning = We have changed a peer mentor's visibility, and the portal has not confirmed it yet. The peer mentor may still be on the public page.
    .action = Wait a few minutes; we try again by ourselves. If it is urgent, press “Try again now”.

alert-data-quality = Data needs attention — the portal does not know a peer mentor
    .meaning = The portal has no entry for the peer mentor, so it cannot take our change. Our own lists show what they should.
    .action = Ask those who run the portal to register the peer mentor. We try again every hour, and the alert closes by itself once that works.

## reader: administrator

alert-portal-ahead = Portal holds a newer version than ours — compare both before more is sent
    .meaning = The portal shows a state that we never sent. That happens when somebody has changed it there, or when a copy of the system is in use.
    .action = Find out who changed the portal. If our state is the right one, press “Send again”.

alert-duplicate-dispatch = The same reminder may have been sent twice — review
    .meaning = The check after the night's run found more than one delivered notice for the same certificate.
    .action = Review it within a day and close the alert with a note.

alert-duplicate-log-entries = Duplicate entries in the reminder log — review
    .meaning = The reconciliation found the same reminder or pause more than once.
    .action = Review it within a day and close the alert with a note.

alert-invalid-policy = Reminder settings are not valid — the organisation runs on the defaults
    .meaning = The organisation's own thresholds cannot be used. Until they are put right, the defaults apply to this organisation alone.
    .action = Open the settings, correct what is marked, and save again.

## reader: operator

alert-credential-failure = Credentials rejected — nothing is sent until the check passes again
    .meaning = The portal or the push service no longer accepts who we are. What waits stays and leaves as soon as signing in works.
    .action = Follow the page on rotating credentials. The alert closes by itself when the check passes; one about the keys for Apple or the web is closed by a person.

alert-integration-unavailable = Integration does not answer — what waits is sent when it does
    .meaning = Three checks in a row got no answer from the portal or the push service. Nothing is lost, and what waits leaves when it answers again.
    .action = Look at the network, and at what the other side says about its operation. The alert closes by itself.

alert-endpoint-retired = Portal endpoint retired — no visibility change reaches the portal
    .meaning = The portal answers that the address no longer exists.
    .action = Ask the portal's owner for the new address, and set it.

alert-payload-rejected = A push message was refused as malformed
    .meaning = The receiver did not understand the message. Sending it again does not help.
    .action = Report it to the developers with the time of the alert. Once it is mended, a person closes the alert.

## reader: everyone

# Stands for a type that a newer release has opened.
alert-other = Something needs attention
    .meaning = The alert has no explanation of its own yet.
    .action = Ask the administrator what it is about.
