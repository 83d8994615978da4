"""`holdfast`, a command line for shop developers. It speaks HTTP through the client, and needs click."""
