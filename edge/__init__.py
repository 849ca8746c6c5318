"""Image in, packet out: the encoder, the client that streams packets, and the command `keyfpn-edge`."""
