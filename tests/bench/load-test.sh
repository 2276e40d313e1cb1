#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Vegeta against a running proxy, with a latency histogram at the end; `make load-test` calls it.
#
#   URL=http://127.0.0.1:8080/ RATE=1000 SECONDS_LONG=10 tests/bench/load-test.sh
#
# A fixed rate for a fixed time, both bounded, so that a slip of the finger is no flood. Where there is no Go, Debian's is
# installed; the version of Vegeta is one that builds with it.
set -eu

vegeta_version=v12.11.1
url=${URL:-http://127.0.0.1:8080/}
rate=${RATE:-1000}
seconds=${SECONDS_LONG:-10}

root=$(cd "$(dirname "$0")/../.." && pwd)
tools=$root/build/tools

bounded() {
    case $2 in
        '' | *[!0-9]*) echo "load-test: $1 must be a whole number, not \"$2\"" >&2; exit 2 ;;
    esac
    if [ "$2" -lt 1 ] || [ "$2" -gt "$3" ]; then
        echo "load-test: $1 must be from 1 to $3, not $2" >&2
        exit 2
    fi
}
bounded RATE "$rate" 50000
bounded SECONDS_LONG "$seconds" 300

if ! curl --silent --insecure --max-time 5 --output /dev/null "$url"; then
    echo "load-test: nothing answers at $url; start the proxy first (make run), or set URL" >&2
    exit 1
fi

if [ ! -x "$tools/vegeta" ]; then
    command -v go >/dev/null || "$root/scripts/install-packages" load
    echo "load-test: building Vegeta $vegeta_version into $tools" >&2
    mkdir -p "$tools"
    GOBIN=$tools go install "github.com/tsenart/vegeta/v12@$vegeta_version"
fi

results=$(mktemp)
trap 'rm -f "$results"' EXIT
trap 'exit 1' HUP INT TERM

echo "load-test: $rate requests/s for $seconds s against $url" >&2
echo "GET $url" | "$tools/vegeta" attack -rate "$rate/s" -duration "${seconds}s" -timeout 5s -max-workers 512 \
    -connections 512 -insecure -output "$results"
"$tools/vegeta" report -type text "$results"
echo
"$tools/vegeta" report -type 'hist[0,100us,200us,500us,1ms,2ms,5ms,10ms,20ms,50ms,100ms,1s]' "$results"
