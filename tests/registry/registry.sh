#!/bin/sh
# A real schema registry (Apicurio, whose interface /apis/ccompat/v7 is Confluent's) on loopback, for
# tests.  Its schemas are in memory: a new one has none.
#   registry.sh fetch             from Maven Central into build/registry (once); installs java and maven where missing
#   registry.sh start PORT HOME   starts, waits until it serves, prints its address; HOME gets pid and log
#   registry.sh stop HOME         ends it, and waits for it
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=2.6.13.Final
jars=$here/../../build/registry
case ${1:-} in
fetch)
    [ -n "$(ls "$jars"/*-runner.jar 2>/dev/null)" ] && exit 0
    "$here/../../etc/deps.sh" openjdk-17-jre-headless maven
    part=$jars.part.$$
    rm -rf "$part"; mkdir -p "$part"
    mvn -q -B -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
        -Dartifact=io.apicurio:apicurio-registry-app:$version:tar.gz:all -DoutputDirectory="$part"
    tar -xzf "$part"/*.tar.gz -C "$part"; rm "$part"/*.tar.gz
    mv -T "$part" "$jars" 2>/dev/null || rm -rf "$part"   # another test was faster
    ;;
start)
    port=$2; home=$3
    : > "$home/registry.log"
    QUARKUS_HTTP_PORT=$port QUARKUS_HTTP_HOST=127.0.0.1 setsid java -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -jar "$jars"/*-runner.jar >"$home/registry.log" 2>&1 </dev/null &
    echo $! > "$home/registry.pid"
    i=0
    until grep -q 'Listening on' "$home/registry.log"; do
        i=$((i + 1))
        [ $i -lt 600 ] && kill -0 "$(cat "$home/registry.pid")" 2>/dev/null || { tail -20 "$home/registry.log" >&2; exit 1; }
        sleep 0.2
    done
    echo "http://127.0.0.1:$port/apis/ccompat/v7"
    ;;
stop)
    [ -f "$2/registry.pid" ] || exit 0
    pid=$(cat "$2/registry.pid"); kill "$pid" 2>/dev/null || true
    i=0
    while kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.*Z' "/proc/$pid/status"; do
        i=$((i + 1)); [ $i -lt 50 ] || { kill -9 "$pid" 2>/dev/null || true; break; }
        sleep 0.2
    done
    rm -f "$2/registry.pid"
    ;;
*)
    sed -n '2,6p' "$0"; exit 2
    ;;
esac
