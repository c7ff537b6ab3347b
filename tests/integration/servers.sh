# Servers for shell tests and benchmarks: a real Kafka and a throwaway PostgreSQL, both on loopback,
# on ports of their own, ended by their process ids.  Source it:
#
#   . tests/integration/servers.sh
#   servers_kafka                 sets BROKERS; starts a broker unless TEST_BROKERS names one
#   servers_postgres              sets DATABASE; starts a server unless TEST_DATABASE names one
#   servers_kafka_kill, servers_kafka_up; servers_postgres_kill, servers_postgres_up
#                                 ends a server that this shell started at once; starts it again
#   servers_topic NAME PARTITIONS [SETTING=VALUE..]
#   servers_lag GROUP             messages that a consumer group has not committed
#   servers_sql SQL               one value
#   servers_stop                  ends what this shell started (also done on exit)
#   servers_scratch NAME          sets dir, a folder that goes at exit, and pids, what is ended then
#   until_true SECONDS WHAT COMMAND..  polls, four times as long, since the machine may be busy; `fail` of the caller ends the test where it never is
#
# TEST_BROKERS and TEST_KAFKA_HOME are exported (a name with FRAUDD_ would be a setting), so that
# programs started from here (tests/support/cluster.c) share the broker.

SERVERS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SERVERS_KAFKA_HOME=
SERVERS_POSTGRES=
SERVERS_POSTGRES_BIN=
SERVERS_POSTGRES_PORT=

SERVERS_SCRATCH=

servers_scratch() {
    SERVERS_SCRATCH=$(mktemp -d "/tmp/fraudd-test-$1-XXXXXX") || return 1
    dir=$SERVERS_SCRATCH
    pids=()
    trap servers_exit EXIT
}

servers_exit() {
    if [ -n "$SERVERS_SCRATCH" ]; then
        for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null; done
    fi
    servers_stop
    [ -z "$SERVERS_SCRATCH" ] || rm -rf "$SERVERS_SCRATCH"
}

# By how much a bound on time that holds on an idle machine is to be multiplied on this one now.
busy_times() { awk -v cores="$(nproc)" '{ print 1 + $1 / cores }' /proc/loadavg; }

until_true() {
    local left=$(($1 * 20)) what=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "never: $what"
        sleep 0.2
    done
}

servers_free_port() { # prints a port that, with the one after it, nobody listens on
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null && continue
        echo "$port"
        return
    done
}

servers_kafka() {
    BROKERS=${TEST_BROKERS:-}
    [ -z "$BROKERS" ] || return 0
    "$SERVERS_ROOT/tests/kafka/kafka.sh" fetch || return 1
    SERVERS_KAFKA_HOME=$(mktemp -d "${SERVERS_DIR:-/tmp}"/fraudd-kafka-XXXXXX)
    trap servers_exit EXIT
    trap 'exit 130' INT TERM
    BROKERS=$(KAFKA_HOME=$SERVERS_KAFKA_HOME "$SERVERS_ROOT/tests/kafka/kafka.sh" start \
        "$(servers_free_port)") || return 1
    export TEST_BROKERS=$BROKERS TEST_KAFKA_HOME=$SERVERS_KAFKA_HOME
}

servers_kafka_kill() {
    kill -9 "$(cat "$SERVERS_KAFKA_HOME/pid")"
    KAFKA_HOME=$SERVERS_KAFKA_HOME "$SERVERS_ROOT/tests/kafka/kafka.sh" stop
}

servers_kafka_up() {
    KAFKA_HOME=$SERVERS_KAFKA_HOME "$SERVERS_ROOT/tests/kafka/kafka.sh" start "${BROKERS##*:}" >/dev/null
}

servers_as_postgres() { # PostgreSQL refuses to run as root
    if [ "$(id -u)" -eq 0 ]; then
        (cd "$SERVERS_POSTGRES" && setpriv --reuid=postgres --regid=postgres --clear-groups "$@")
    else
        "$@"
    fi
}

servers_postgres() {
    local port
    DATABASE=${TEST_DATABASE:-}
    [ -z "$DATABASE" ] || return 0
    SERVERS_POSTGRES_BIN=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
    SERVERS_POSTGRES=$(mktemp -d "${SERVERS_DIR:-/tmp}"/fraudd-pg-XXXXXX)
    trap servers_exit EXIT
    trap 'exit 130' INT TERM
    [ "$(id -u)" -ne 0 ] || chown postgres "$SERVERS_POSTGRES"
    port=$(servers_free_port)
    SERVERS_POSTGRES_PORT=$port
    servers_as_postgres "$SERVERS_POSTGRES_BIN/initdb" -D "$SERVERS_POSTGRES/data" --auth=trust \
        --username=fraudd --encoding=UTF8 --locale=C --no-sync >"$SERVERS_POSTGRES/initdb.log" 2>&1 &&
        servers_postgres_up || {
        cat "$SERVERS_POSTGRES/initdb.log" "$SERVERS_POSTGRES/data/server.log" >&2
        return 1
    }
    DATABASE="host=127.0.0.1 port=$port user=fraudd dbname=postgres"
    export TEST_DATABASE=$DATABASE
}

# Nothing is asked of the disk, so what is committed outlives the server, not the machine.  Without
# SERVERS_POSTGRES_COMMITS=on not even the server: the last half second may be gone after a kill.
servers_postgres_up() {
    servers_as_postgres "$SERVERS_POSTGRES_BIN/pg_ctl" start -w -s -D "$SERVERS_POSTGRES/data" \
        -l "$SERVERS_POSTGRES/data/server.log" -o "-c listen_addresses=127.0.0.1 \
        -c port=$SERVERS_POSTGRES_PORT -c unix_socket_directories= -c fsync=off \
        -c synchronous_commit=${SERVERS_POSTGRES_COMMITS:-off} -c full_page_writes=off \
        -c max_wal_size=4GB"
}

servers_postgres_kill() {
    servers_as_postgres "$SERVERS_POSTGRES_BIN/pg_ctl" stop -s -w -m immediate -D "$SERVERS_POSTGRES/data"
}

servers_tool() { # servers_tool CLASS ARGS..: one of Kafka's command-line classes
    local class=$1
    shift
    "$SERVERS_ROOT/tests/kafka/kafka.sh" tool "$class" --bootstrap-server "$BROKERS" "$@"
}

servers_topic() {
    local name=$1 partitions=$2 settings=()
    shift 2
    for setting in "$@"; do
        settings+=(--config "$setting")
    done
    servers_tool org.apache.kafka.tools.TopicCommand --create --topic "$name" \
        --partitions "$partitions" "${settings[@]}" >/dev/null
}

servers_lag() { # a partition without a committed offset counts whole
    servers_tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --describe --group "$1" \
        2>/dev/null | awk '$4 ~ /^[0-9-]+$/ && $5 ~ /^[0-9]+$/ { lag += $5 - ($4 == "-" ? 0 : $4) }
                           END { print lag + 0 }'
}

servers_sql() {
    psql -qtAX -d "$DATABASE" -c "$1"
}

servers_stop() {
    if [ -n "$SERVERS_KAFKA_HOME" ]; then
        KAFKA_HOME=$SERVERS_KAFKA_HOME "$SERVERS_ROOT/tests/kafka/kafka.sh" stop
        rm -rf "$SERVERS_KAFKA_HOME"
        unset TEST_BROKERS TEST_KAFKA_HOME
        SERVERS_KAFKA_HOME=
    fi
    if [ -n "$SERVERS_POSTGRES" ]; then
        [ ! -f "$SERVERS_POSTGRES/data/postmaster.pid" ] ||
            servers_postgres_kill
        rm -rf "$SERVERS_POSTGRES"
        unset TEST_DATABASE
        SERVERS_POSTGRES=
    fi
}
