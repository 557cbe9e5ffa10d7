"""Which server plays a role: who could, how well, and how it changes hands."""
