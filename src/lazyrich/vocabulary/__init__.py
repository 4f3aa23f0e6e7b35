"""What a quantity, a parameter, a phase and a regime are called; what they mean."""
