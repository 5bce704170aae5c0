## reader: everyone

error-not-signed-in = You are not signed in.
    .action = Sign in and try again.
error-forbidden = You have no access to this.
    .action = Ask the administrator of your organisation if you think you should have.
error-not-found = What you look for does not exist, or you have no access to it.
error-invalid-request = Something in the form is not valid.
    .action = Correct what is marked and try again.
error-too-large = What you sent is too large.
error-conflict = Somebody else has changed this meanwhile.
    .action = Reload the page and try again.
error-unavailable = The service is not available right now.
    .action = Try again in a few minutes. Nothing you have done is lost.
error-unexpected = Something went wrong on our side.
    .action = Try again. If it does not help, report it with the time.

## reader: mentor

error-own-certificate-pause = The pause is due to your expired certificate, and you cannot lift it yourself.
    .action = Renew the certificate, and the pause is lifted.

## reader: coordinator

error-no-channel = The organisation shows no peer mentors on the portal, so there is nothing to send.
error-certificate-lapsed = The certificate has expired, so the pause cannot be lifted.
    .action = Renew the certificate first.
error-inactive = The peer mentor is no longer with us.
error-state-differs = The peer mentor's status is not the one you want to tell about.
error-nothing-to-retry = There is nothing to try again. It may have been delivered already.

button-retry = Try again now
button-force = Send again

retry-done =
    { $count ->
        [0] Nothing was waiting: the portal has confirmed, or is answering right now.
       *[other] We are trying again now. It usually takes less than a minute.
    }
force-done = The visibility is being sent to the portal again. It usually takes less than a minute.
paused-done = The peer mentor has been paused and is no longer shown.
reactivated-done = The peer mentor is active again.
