"""`make demo`: the whole way of a few pictures, shown on one page."""
