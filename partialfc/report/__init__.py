"""What a run or a plan came to, drawn and summed up for people. Pictures need the extra `plot`.

May import `evaluation`, `metrics`, `plan` and `errors`.
"""
