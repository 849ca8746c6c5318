"""The codec `network`: missing levels by a trained network in place of a rule."""
