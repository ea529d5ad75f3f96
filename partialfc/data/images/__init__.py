"""From bytes to pixels and back, what augmentation does to pixels, and pixels as backbones take them.

May import `errors` alone.
"""
