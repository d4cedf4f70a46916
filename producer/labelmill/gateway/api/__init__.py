"""What the gateway answers, a module a noun."""
