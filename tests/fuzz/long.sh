#!/bin/sh
# A long run of every target, one after the other: sh long.sh [SECONDS each, 1200]. What is found is
# in build/fuzz/found; what adds coverage goes into seeds/ by `make merge`.
set -eu
cd "$(dirname "$0")"
make fuzz SECONDS="${1:-1200}"
make merge
