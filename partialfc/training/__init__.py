"""A training run: `run` starts it, `loop` trains, `saving` saves and resumes, `builders` make its objects.

May import every room but `deploy`, `plan`, `report`, `doctor` and `cli`. Only `cli` and `doctor` import it.
"""
