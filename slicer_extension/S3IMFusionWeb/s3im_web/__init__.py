"""The web front of S3IMFusion: load two volumes in a browser, fuse them on the server, look, save."""
