"""The other systems."""

SYSTEMS = []


def fetch(names):
    pass
