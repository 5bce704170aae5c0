"""One module per matter; each scenario measures what its docstring says and returns its figures."""
