"""Which solved models describe a network and its data, and how well."""
