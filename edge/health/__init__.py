"""How the machine under the station fares, and the figures by which others watch it."""
