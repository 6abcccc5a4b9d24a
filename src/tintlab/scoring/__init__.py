"""Colour whole archives: plan, work in chunks, resume, record a manifest, watch for drift."""
