"""How rich training will be, before its first step."""
