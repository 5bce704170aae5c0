"""Applications of other teams: small, whole, and meant to be copied. No part of the wheel."""
