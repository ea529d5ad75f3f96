#!/usr/bin/env bash
# Installs what the tests marked `integration` talk to: Slurm, and what builds the image. Debian, as root;
# elsewhere they skip and say what is missing.
set -euo pipefail
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "tests/integration/install.sh: not root on Debian, so nothing is installed" >&2
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    slurm-wlm munge iproute2 buildah debootstrap >/dev/null
