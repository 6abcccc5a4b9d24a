"""Files, locks, processes, entry points and URLs: what every room builds on."""
