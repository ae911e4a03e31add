"""Finding, reading and writing images, and the embedded phantom."""
