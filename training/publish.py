"""Forwards to where these moved, until tests/conftest.py follows."""

from keyfpn.training.codecs.learned.publish import publish_codec
from keyfpn.training.codecs.network.publish import publish_network

__all__ = ["publish_codec", "publish_network"]
