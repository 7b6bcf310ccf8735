# What the checks share: one sentence for each expectation, and a count at the end. Sourced, inside the machine.
# shellcheck shell=bash
set -u
page=/opt/pinfold/docs/how-to/fleet-on-postgresql.md
passed=0 failed=0
export PATH=/opt/pinfold/.venv/bin:$PATH COLUMNS=160

expect() { # expect SENTENCE COMMAND…: the command has to succeed
    local sentence=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $sentence"
    else
        failed=$((failed + 1))
        echo "NOT OK  $sentence"
        printf '%s\n' "$output" | tail -n 25 | sed 's/^/        | /'
    fi
}

refuted() { ! "$@"; }

soon() { # soon SECONDS COMMAND…: the command has to succeed before long
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || { "$@"; return 1; }
        sleep 1
    done
}

block() { # the first fenced block after the line of the page that holds the words $1
    awk -v words="$1" 'index($0, words) { found = 1 } found && /^```/ { if (inside) exit; inside = 1; next } inside' $page | grep . || echo "no block after: $1" >&2
}
done_checking() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}
