"""Wrong labels found with a trained network: images of another class, classes of one identity, mixed classes.

Takes embeddings and class ids, and knows no config and no checkpoint. May import `data`, `report`, `errors`
and `files`.
"""
