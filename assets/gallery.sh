#!/usr/bin/env bash
# The pictures of the README: `make gallery`. Policies are trained where runs/gallery has none yet.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=runs/gallery
look="--size 480x480 --fps 12.5 --speed 6.25 --seed 1 --threads 1"

# name, policy, agents to show, and what trains it
show() {
    local name=$1 policy=$2 agents=$3 and_so=$4
    shift 4
    if [ ! -f "$runs/$name/latest" ]; then
        rm -rf "${runs:?}/$name"
        interact-env train --policy "$policy" --total-steps 204800 --threads 1 --out "$runs/$name" "$@"
    fi
    # shellcheck disable=SC2086
    interact-env watch "$runs/$name" --n-agents "$agents" --record "assets/$name.gif" $look $and_so
}

show colliding sa_linear 32 "--select 3 --steps 40" --env-params shape=square &
show labels hfa_linear 32 "--select 3 --steps 40" --env-params shape=square n_labels=2 "collides=[[0,0],[1,0]]" &
wait
show gravity sa_linear 12 "--select 0 --steps 50 --zoom 1.6" --env n_body_v0 &
show charge hfa_linear 12 "--select 0 --steps 50 --zoom 1.6" --env n_body_v0 --env-params interaction=charge &
show three_body ha_linear 12 "--select 0 --steps 50 --zoom 1.6" --env n_body_v0 --env-params interaction=three_body &
wait

# Two policies, one seed; and a simulation.
if [ ! -f "$runs/none/latest" ]; then
    interact-env train --policy none --total-steps 51200 --threads 1 --out "$runs/none" --env-params shape=square
fi
interact-env watch "$runs/colliding" "$runs/none" --n-agents 32 --record assets/side_by_side.png --size 1200x640 --steps 60
interact-env watch --env n_body_v0 --policy hold --n-agents 3 --record assets/figure_eight.gif --steps 64 \
    --size 480x480 --fps 12.5 --speed 12.5 --zoom 3.5 \
    --env-params start=figure_eight softening=0 max_thrust=0 max_cycles=128 dt=0.1 substeps=20
ls -l assets
