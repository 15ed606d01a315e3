#!/usr/bin/env bash
# Installs what the checks need of go-ethereum, through the Go toolchain's module proxy, into a cache folder:
#   CACHE/geth-v1.17.0/geth                      eth/68 and 69
#   CACHE/geth-v1.17.5/{geth,devp2p,testdata}    eth/69 to 72, geth's own test tool, its chain with state
# CACHE is $TRUNKLINE_INTEROP_CACHE, else trunkline-interop in the user's cache folder. What is there stays.
# Without Go, or when the proxy cannot be reached, it says SKIPPED and ends with 0.
set -euo pipefail

CACHE="${TRUNKLINE_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trunkline-interop}"
MODULE=github.com/ethereum/go-ethereum
OLD=v1.17.0
NEW=v1.17.5

skip() {
    echo "SKIPPED: $*"
    exit 0
}

find_go() {
    command -v go || { [ -x /usr/local/go/bin/go ] && echo /usr/local/go/bin/go; }
}

# build VERSION COMMAND: takes two to three minutes.
build() {
    local folder="$CACHE/geth-$1"
    [ -x "$folder/$2" ] && return
    mkdir -p "$folder/building"
    echo "building $2 $1 .."
    if ! GOBIN="$folder/building" timeout 1200 "$GO" install "$MODULE/cmd/$2@$1"; then
        rm -rf "$folder/building"
        skip "$2 $1 could not be installed (is the module proxy reachable?)"
    fi
    # Only whole files get their final name.
    mv "$folder/building/$2" "$folder/$2"
    rmdir "$folder/building"
}

# testdata VERSION: the tool reads a file that only the module's source has.
testdata() {
    local folder="$CACHE/geth-$1/testdata"
    [ -f "$folder/headstate.json" ] && return
    # The source may have left the module cache since the build.
    local source
    source="$("$GO" mod download -json "$MODULE@$1" | sed -n 's/^\t*"Dir": "\(.*\)",\{0,1\}$/\1/p')" || true
    [ -d "$source" ] || skip "the source of $MODULE@$1 could not be fetched"
    rm -rf "$folder.part" "$folder"
    cp -R "$source/cmd/devp2p/internal/ethtest/testdata" "$folder.part"
    chmod -R u+w "$folder.part"
    mv "$folder.part" "$folder"
}

complete() {
    [ -x "$CACHE/geth-$OLD/geth" ] && [ -x "$CACHE/geth-$NEW/geth" ] && [ -x "$CACHE/geth-$NEW/devp2p" ] &&
        [ -f "$CACHE/geth-$NEW/testdata/headstate.json" ]
}

if ! complete; then
    GO="$(find_go)" || skip "geth is not installed: no go on this machine"
    mkdir -p "$CACHE"
    build "$OLD" geth
    build "$NEW" geth
    build "$NEW" devp2p
    testdata "$NEW"
fi
echo "geth $OLD, geth $NEW and devp2p $NEW are in $CACHE"
