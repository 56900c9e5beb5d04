"""The operator's page: what it shows, the server that gives it, the static files it is made of."""
