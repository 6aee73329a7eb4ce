"""The HTTP API of the portal's side: who may call it, what it answers, and how it calls the portal software back."""
