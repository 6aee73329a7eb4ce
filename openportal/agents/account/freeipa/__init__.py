"""Accounts in FreeIPA."""
