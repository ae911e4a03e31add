"""The web front of S3IMFusion: load two volumes in a browser, register and fuse them on the server, look, save."""
