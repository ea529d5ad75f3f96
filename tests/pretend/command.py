"""`python -m tests.pretend.command ARGUMENTS`: `partialfc` on a machine that has the accelerator."""

import os

from tests.pretend.device import install

if __name__ == "__main__":
    install()
    from partialfc.cli.app import main

    try:
        main()
    except SystemExit as end:
        os._exit(int(end.code or 0))  # autograd's thread for the device does not end by itself
