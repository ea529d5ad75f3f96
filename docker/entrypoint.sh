#!/bin/sh
# `docker run partialfc train CONFIG` is `partialfc train CONFIG`; programs are run by their name or absolute path.
set -eu
case ${1-} in
    torchrun | python | python3 | sh | bash | partialfc | /*) ;;
    *) set -- partialfc "$@" ;;
esac
exec "$@" # signals reach the program itself
