"""What is measured of Segue alone, on request."""

PARTS = {}
