"""One photograph or picture: read it, convert its colours, encode it and record its provenance."""
