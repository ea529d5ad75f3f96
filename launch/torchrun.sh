#!/usr/bin/env bash
# Starts `partialfc train`, or `partialfc doctor`, on this node: launch/torchrun.sh CONFIG [section.key=value ...]
#
# On one node no variable is needed. Of several, each runs this script with the same NNODES, RDZV_ENDPOINT, RDZV_ID.
#
#   COMMAND           train, or doctor to examine every rank instead; default train
#   NPROC_PER_NODE    processes on this node; default: one for each GPU, or 1 without GPUs
#   NNODES            nodes, or MIN:MAX, between which the job shrinks and grows as nodes leave and come; default 1
#   RDZV_ENDPOINT     HOST:PORT where the nodes meet; HOST is one of them
#   RDZV_ID           a name that no other job at that endpoint has; default partialfc
#   NODE_RANK         number of this node; node 0 is the one at RDZV_ENDPOINT
#   IS_HOST           true on the node at RDZV_ENDPOINT, false elsewhere; default: node 0, or as torchrun finds
#   LOCAL_ADDR        address at which other nodes reach this one, where they cannot by its host name
#   IFNAME            network interface between the nodes, where gloo and NCCL choose the wrong one
#   MAX_RESTARTS      how often, at most, all processes are started again after a failure; default 0
#   RDZV_TIMEOUT      seconds within which all nodes must arrive; default 600
#   SHUTDOWN_TIMEOUT  seconds that processes have for the last checkpoint after a signal to stop; default 110
#   TARGETS           file for the addresses of /metrics, for Prometheus: the config's metrics.targets
#   OMP_NUM_THREADS   CPU threads of each process; default: this node's cores divided by its processes
#   PYTHON            the Python that has partialfc; default: .venv of this checkout, else python3
#
# Where those are not set, what a Kubeflow torch runtime sets is used (PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR, ...).
set -euo pipefail

fail() {
    echo "launch/torchrun.sh: $*" >&2
    exit 2
}

check() {  # check NAME REGEX RULE: the variable's value, if it is set, must match
    local name=$1 value=${!1-}
    [[ -z $value || $value =~ ^($2)$ ]] || fail "$name is '$value'; it must be $3"
}

count_gpus() {  # those that CUDA_VISIBLE_DEVICES leaves, else all of the machine; at least 1 process
    local gpus
    if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
        gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c '[^ ]') || true
    else
        gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU') || true
    fi
    echo $((gpus > 0 ? gpus : 1))
}

own_python() {  # what `make` installed beside this script, if it did
    local venv
    venv=$(dirname "${BASH_SOURCE[0]}")/../.venv/bin/python
    [[ -x $venv ]] && echo "$venv" || echo python3
}

is_taken() {  # is_taken HOST PORT: something listens there
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

[[ $# -gt 0 ]] || fail "no config: launch/torchrun.sh CONFIG [section.key=value ...]"

COMMAND=${COMMAND:-train}
NNODES=${NNODES:-${PET_NNODES:-1}}
NPROC_PER_NODE=${NPROC_PER_NODE:-${PET_NPROC_PER_NODE:-auto}}
NODE_RANK=${NODE_RANK:-${PET_NODE_RANK:-}}
RDZV_ENDPOINT=${RDZV_ENDPOINT:-${PET_MASTER_ADDR:+$PET_MASTER_ADDR:${PET_MASTER_PORT:-29400}}}
RDZV_ID=${RDZV_ID:-partialfc}
MAX_RESTARTS=${MAX_RESTARTS:-0}
RDZV_TIMEOUT=${RDZV_TIMEOUT:-600}
SHUTDOWN_TIMEOUT=${SHUTDOWN_TIMEOUT:-110}
[[ -n ${PYTHON-} ]] || PYTHON=$(own_python)
[[ $NPROC_PER_NODE != auto ]] || NPROC_PER_NODE=$(count_gpus)

check COMMAND 'train|doctor' "train or doctor"
check NNODES '[1-9][0-9]*(:[1-9][0-9]*)?' "a number of nodes, 1 or more, or MIN:MAX"
check NPROC_PER_NODE '[1-9][0-9]{0,3}' "a number of processes, 1 or more, or auto"
check NODE_RANK '0|[1-9][0-9]*' "the number of this node, 0 to NNODES - 1"
check RDZV_ENDPOINT '([^:]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}' "HOST:PORT, such as node0:29400"
check IS_HOST 'true|false' "true on the node at RDZV_ENDPOINT, false elsewhere"
check MAX_RESTARTS '[0-9]+' "a number of restarts, 0 or more"
check RDZV_TIMEOUT '[1-9][0-9]*' "a number of seconds, 1 or more"
check SHUTDOWN_TIMEOUT '[1-9][0-9]*' "a number of seconds, 1 or more"
check OMP_NUM_THREADS '[1-9][0-9]*' "a number of threads, 1 or more"
check TARGETS '.+\.json' "a .json file, the only kind that Prometheus reads here"
[[ ${NNODES%:*} -le ${NNODES#*:} ]] || fail "NNODES is '$NNODES'; MIN:MAX must not be MAX:MIN"
[[ -z $NODE_RANK || $NODE_RANK -lt ${NNODES#*:} ]] ||
    fail "NODE_RANK is $NODE_RANK, but NNODES is $NNODES: nodes are numbered from 0"
interfaces=(/sys/class/net/*)
[[ -z ${IFNAME-} || -e /sys/class/net/$IFNAME ]] ||
    fail "IFNAME is '$IFNAME', but this node's interfaces are: ${interfaces[*]##*/}"
command -v "$PYTHON" >/dev/null || fail "PYTHON is '$PYTHON', which is not a command: name the Python that has partialfc"
"$PYTHON" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("partialfc") is None)' ||
    fail "PYTHON is '$PYTHON', which has no partialfc: name the Python that has it, such as .venv/bin/python"

options=(--nproc-per-node "$NPROC_PER_NODE" --max-restarts "$MAX_RESTARTS")
if [[ $NNODES == 1 && -z $RDZV_ENDPOINT ]]; then
    options+=(--standalone)
else
    [[ -n $RDZV_ENDPOINT ]] || fail "NNODES is $NNODES, but RDZV_ENDPOINT is missing: give HOST:PORT of one of the nodes"
    host=${RDZV_ENDPOINT%:*} port=${RDZV_ENDPOINT##*:}
    ((10#$port <= 65535)) || fail "RDZV_ENDPOINT is '$RDZV_ENDPOINT', but ports end at 65535"
    [[ -z $NODE_RANK ]] || IS_HOST=${IS_HOST:-$([[ $NODE_RANK == 0 ]] && echo true || echo false)}
    if [[ ${IS_HOST-} == true ]] && is_taken "$host" "$port"; then
        fail "RDZV_ENDPOINT is $RDZV_ENDPOINT, but something listens there already: end it, or choose another port"
    fi
    options+=(--nnodes "$NNODES" --rdzv-backend c10d --rdzv-endpoint "$RDZV_ENDPOINT" --rdzv-id "$RDZV_ID")
    # Without read_timeout a node that arrives first waits for the one at RDZV_ENDPOINT for one minute only.
    options+=(--rdzv-conf "join_timeout=$RDZV_TIMEOUT,read_timeout=$RDZV_TIMEOUT${IS_HOST:+,is_host=$IS_HOST}")
    # With the store that torchrun shares between attempts, a node that comes later never learns where it is.
    [[ $NNODES != *:* ]] || export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=${TORCH_DISABLE_SHARE_RDZV_TCP_STORE:-1}
    [[ -z ${LOCAL_ADDR-} ]] || options+=(--local-addr "$LOCAL_ADDR")
fi

if [[ -n ${IFNAME-} ]]; then
    export GLOO_SOCKET_IFNAME=$IFNAME
    export NCCL_SOCKET_IFNAME="=$IFNAME"  # "=": this name exactly, not all that begin with it
fi
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > NPROC_PER_NODE ? cores / NPROC_PER_NODE : 1))}
[[ -z ${TARGETS-} || $COMMAND != train ]] || set -- "$@" "metrics.targets=$TARGETS"

# torchrun takes PET_* as defaults of its options; those of a static rendezvous contradict the options above.
unset PET_NNODES PET_NPROC_PER_NODE PET_NODE_RANK PET_MASTER_ADDR PET_MASTER_PORT PET_SHUTDOWN_TIMEOUT
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=$SHUTDOWN_TIMEOUT  # torch 2.11 has no such option; it waits 30 s

# exec: signals reach torchrun itself, which passes them on to its processes.
exec "$PYTHON" -m torch.distributed.run "${options[@]}" -m partialfc "$COMMAND" "$@"
