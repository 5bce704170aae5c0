## reader: mentor

cert-expiry-reminder-mentor =
    .title =
        { $urgency ->
            [urgent] Your certificate expires in a few days
           *[calm] Your certificate expires soon
        }
    .body =
        { $days ->
            [one] There is { $days } day or less left. Tap to renew.
           *[other] There are { $days } days or fewer left. Tap to renew.
        }

cert-lapsed-mentor =
    .title = Your certificate has expired
    .body = You are no longer shown to new contacts. Tap to renew.

mentor-paused-mentor =
    .title = You have been paused
    .body =
        { $cause ->
            [certificate] Your certificate has expired. Tap to renew.
           *[other] Open the app for details.
        }

mentor-reactivated-mentor =
    .title = You are active again
    .body = Your pause has been lifted.

scenario-prompt-mentor =
    .title = Time to follow up
    .body = One of your contacts is due a follow-up. Open the app for details.

sync-alert-mentor =
    .title = Your visibility is being updated
    .body = The listing on the portal is not confirmed yet.

## reader: coordinator

cert-expiry-reminder-coordinator =
    .title =
        { $urgency ->
            [urgent] A certificate expires in a few days
           *[calm] A certificate expires soon
        }
    .body =
        { $days ->
            [one] A peer mentor has { $days } day or less left. Open the app for details.
           *[other] A peer mentor has { $days } days or fewer left. Open the app for details.
        }

cert-lapsed-coordinator =
    .title = A certificate has expired
    .body = A peer mentor needs follow-up. Open the app for details.

mentor-paused-coordinator =
    .title = A peer mentor has been paused
    .body =
        { $cause ->
            [certificate] The certificate has expired. Open the app for details.
           *[other] Open the app for details.
        }

mentor-reactivated-coordinator =
    .title = A peer mentor is active again
    .body = The pause has been lifted. Open the app for details.

scenario-prompt-coordinator =
    .title = Time to follow up
    .body = A contact is due a follow-up. Open the app for details.

sync-alert-coordinator =
    .title = Synchronisation pending
    .body = A peer mentor may still be visible on the portal. Open the app for details.

digest-title =
    { $topic ->
        [paused] Peer mentors paused
        [reactivated] Peer mentors active again
        [unconfirmed] Synchronisation pending
       *[certificates] Certificates about to expire
    }

# $tiers (1 within 30 days | 1 expired, 2 within 30 days | 4 within 7 days, 8 within 30 days): counts per tier, most urgent first
digest-follow-up =
    { $count ->
        [one] { $count } peer mentor needs follow-up
       *[other] { $count } peer mentors need follow-up
    }{ $pressing ->
        [0] : { $tiers }.
       *[other] {" "}({ $pressing } urgent): { $tiers }.
    }

digest-lapsed = { $count } expired

digest-tier =
    { $days ->
        [one] { $count } within { $days } day
       *[other] { $count } within { $days } days
    }

digest-paused =
    { $count ->
        [one] { $count } has been paused.
       *[other] { $count } have been paused.
    }

digest-reactivated =
    { $count ->
        [one] { $count } is active again.
       *[other] { $count } are active again.
    }

digest-unconfirmed =
    { $count ->
        [one] { $count } may still be visible on the portal.
       *[other] { $count } may still be visible on the portal.
    }

## reader: everyone

may-arrive-again = This message may reach you twice.
