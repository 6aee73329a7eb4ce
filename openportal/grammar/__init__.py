"""The vocabulary of OpenPortal: who a job is about, where it goes and what it asks for. Pure text and values."""
