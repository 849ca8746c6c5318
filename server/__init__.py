"""Packet in, boxes out: the gRPC service, and decoding of files; the command `keyfpn-server`."""
