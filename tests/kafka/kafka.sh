#!/bin/sh
# A real single-node Apache Kafka (KRaft) on loopback, for tests.
#   kafka.sh fetch                 jars from Maven Central into build/kafka (once); installs java and maven where missing
#   kafka.sh start [PORT]          formats $KAFKA_HOME/data if new, starts, waits until it serves (default 19092)
#   kafka.sh stop                  ends the broker that start began, and waits for it
#   kafka.sh tool CLASS ARGS...    a Kafka command-line class, e.g. org.apache.kafka.tools.TopicCommand
# KAFKA_VERSION (4.1.0) names the release; KAFKA_LISTENERS further listeners (NAME://HOST:PORT,..);
# KAFKA_PROPERTIES a file of broker properties that count more than those below; KAFKA_FORMAT further
# options of the storage's format, a word each.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${KAFKA_HOME:-$PWD/.kafka}
version=${KAFKA_VERSION:-4.1.0}
# shared by every broker of this checkout
jars=${KAFKA_JARS:-$here/../../build/kafka${KAFKA_VERSION:+-$KAFKA_VERSION}}
quiet="-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info"
small="-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"   # for the short-lived tools
broker_java=${KAFKA_JAVA_OPTS:--Xms256m -Xmx384m -XX:+UseG1GC -XX:MaxGCPauseMillis=20}
case ${1:-} in
fetch)
    [ -n "$(ls "$jars"/kafka_2.13-*.jar 2>/dev/null)" ] && exit 0
    "$here/../../etc/deps.sh" openjdk-17-jre-headless maven
    part=$jars.part.$$
    rm -rf "$part"; mkdir -p "$part" "$(dirname "$jars")"
    mvn -q -B -f "$here/pom.xml" -Dkafka.version="$version" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DoutputDirectory="$part" -DincludeScope=runtime
    mv -T "$part" "$jars" 2>/dev/null || rm -rf "$part"   # another test was faster
    ;;
start)
    port=${2:-19092}; ctrl=$((port + 1)); conf=$home/server.properties
    cat > "$conf" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$ctrl
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$ctrl${KAFKA_LISTENERS:+,$KAFKA_LISTENERS}
advertised.listeners=PLAINTEXT://127.0.0.1:$port${KAFKA_LISTENERS:+,$KAFKA_LISTENERS}
controller.listener.names=CONTROLLER
log.dirs=$home/data
log.retention.ms=-1
num.partitions=4
num.network.threads=1
num.io.threads=2
offsets.topic.num.partitions=4
num.network.threads=1
num.io.threads=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
END
    [ -z "${KAFKA_PROPERTIES:-}" ] || cat "$KAFKA_PROPERTIES" >> "$conf" # of two the last one counts
    # an id that began with - would be taken for an option
    # shellcheck disable=SC2086
    [ -f "$home/data/meta.properties" ] ||
        java $small $quiet -cp "$jars/*" kafka.tools.StorageTool format \
            -t "$(head -c 16 /dev/urandom | base64 | tr '+/' 'Az' | tr -d =)" -c "$conf" ${KAFKA_FORMAT:-} >"$home/format.log" 2>&1 ||
        { cat "$home/format.log" >&2; exit 1; }
    : > "$home/broker.log"
    # shellcheck disable=SC2086
    setsid java $broker_java $quiet -cp "$jars/*" kafka.Kafka "$conf" >"$home/broker.log" 2>&1 </dev/null &
    echo $! > "$home/pid"
    i=0
    until grep -q 'Kafka Server started' "$home/broker.log"; do
        i=$((i + 1))
        [ $i -lt 900 ] && kill -0 "$(cat "$home/pid")" 2>/dev/null || { tail -20 "$home/broker.log" >&2; exit 1; }
        sleep 0.2
    done
    echo "127.0.0.1:$port"
    ;;
stop)
    [ -f "$home/pid" ] || exit 0
    pid=$(cat "$home/pid"); kill "$pid" 2>/dev/null || true
    i=0
    # one that nobody has reaped yet has ended all the same
    while kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.*Z' "/proc/$pid/status"; do
        i=$((i + 1)); [ $i -lt 100 ] || { kill -9 "$pid" 2>/dev/null || true; break; }
        sleep 0.2
    done
    rm -f "$home/pid"
    ;;
tool)
    shift; exec java $small $quiet -cp "$jars/*" "$@"
    ;;
*)
    sed -n '2,9p' "$0"; exit 2
    ;;
esac
