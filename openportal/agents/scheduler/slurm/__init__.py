"""Slurm behind a scheduler agent: accounts, limits and usage."""
