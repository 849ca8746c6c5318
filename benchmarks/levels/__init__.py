"""The level study: what each pyramid level is worth, and which of them are worth sending."""
