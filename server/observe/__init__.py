"""What happens on a server, told to whoever wants to know: lines for people and machines today."""
