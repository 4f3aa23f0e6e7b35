from .limit import diagonal_limit as diagonal_limit
