"""Split computing for object detection: key pyramid levels on the wire, the whole pyramid on the server."""
