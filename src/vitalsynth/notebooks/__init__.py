"""Notebooks: a run opened in one line, notebooks run with no browser, a local runtime for Colab."""
