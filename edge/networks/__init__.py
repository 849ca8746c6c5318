"""What computes the arrays that an encoder codes: torch today, other runtimes beside it."""
