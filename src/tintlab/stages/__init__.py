"""The DVC stages: one module a stage, with a short `main()` that reads and writes files."""
