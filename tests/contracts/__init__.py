"""What every member of a family keeps to, the members found by themselves."""
