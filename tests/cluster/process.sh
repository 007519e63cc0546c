# Sourced: starts, awaits and stops the processes of a cluster. A process is known by its id and its start time, so that
# nothing else is ever stopped.
# shellcheck shell=bash

say() { printf '%4ds %s\n' "$SECONDS" "$*"; }

born() { # id -> the process's start time, nothing when there is no such process
    # The name in parentheses may hold blanks: count fields after it.
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20 || true
}

alive() { # name
    local id time
    [[ -f $PIDS/$1 ]] && read -r id time < "$PIDS/$1" && [[ -n $time && $(born "$id") = "$time" ]]
}

start() { # name command...
    local name=$1
    shift
    if alive "$name"; then
        echo "$name runs already"
        return
    fi
    # A session of its own: the terminal's interrupt goes to the script, which stops everything in order.
    setsid "$@" >>"$LOG/$name.log" 2>&1 </dev/null &
    echo "$! $(born $!)" > "$PIDS/$name"
}

await() { # name seconds command...: until the command succeeds; ends the script when the process dies or time is up
    local name=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! alive "$name" || ((SECONDS >= until)); then
            echo "$name is not ready; the end of $LOG/$name.log:" >&2
            tail -n 8 "$LOG/$name.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    say "$name ready"
}

stop() { # name
    local name=$1 id _
    if alive "$name"; then
        read -r id _ < "$PIDS/$name"
        kill "$id" 2>/dev/null || true
        timeout 15 tail --pid="$id" -s 0.05 -f /dev/null || kill -KILL "$id" 2>/dev/null || true
        echo "stopped $name ($id)"
    fi
    rm -f "$PIDS/$name"
}
