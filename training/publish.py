"""Forwards to where these moved, until tests/conftest.py follows."""

from keyfpn.training.detector.publish import publish_codec, publish_network

__all__ = ["publish_codec", "publish_network"]
