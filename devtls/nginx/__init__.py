"""The gateway: the nginx in front of every project of this user."""
