"""A web shop: it takes orders, reserves stock in its own database and asks a webhook for mails.

Start reading at `app`, which puts it together; `messages` says what is told to whom.
"""
